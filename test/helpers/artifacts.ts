/** An artifact store for attempts that write no files. */
import { openDiskStore } from '../../src/artifacts/disk-store.js'

export const noArtifacts = { artifacts: openDiskStore('/nonexistent'), artifactTtlMs: 60_000 }
