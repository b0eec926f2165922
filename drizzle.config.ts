import { defineConfig } from 'drizzle-kit'

// drizzle-kit reads the built schema: its own loader does not follow the `.js` endings that Node's resolution asks for.
export default defineConfig({
  dialect: 'postgresql',
  schema: './dist/db/*schema.js',
  out: './drizzle',
  schemaFilter: ['taskwire'],
  migrations: { schema: 'taskwire', table: 'migrations' },
})
