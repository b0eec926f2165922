/** The owner of everything, until there are API keys with their own tenants. */
export const DEFAULT_TENANT = 'default'
