/** The owner of everything, as long as there are no keys that say otherwise. */
export const DEFAULT_TENANT = 'default'
