export interface Page {
  /** As a route of the server: `/tasks/:id`. */
  path: string
  /** For the browser alone. */
  load(): Promise<unknown>
}

/** The pages: an address, and the module that shows it. */
export const PAGES: readonly Page[]
