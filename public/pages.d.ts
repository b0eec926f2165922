export interface Page {
  /** As a route of the server: `/tasks/:id`. */
  path: string
  /** Used by the browser only. */
  load(): Promise<unknown>
}

/** The pages: an address, and the module that shows it. */
export const PAGES: readonly Page[]
