/** Explains in one line why listening on an address failed, and what to do about it. */
import { StartupError } from './startup-error.js'

export function describeListenError(error: NodeJS.ErrnoException, host: string, port: number): StartupError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartupError(
        `port ${port} on ${host} is taken. Set PORT to a free port, or stop the program that uses it.`,
      )
    case 'EACCES':
      return new StartupError(`port ${port} on ${host} is not permitted for this user. Set PORT to a port above 1023.`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new StartupError(
        `${host} is not an address of this machine. Set HOST to an address that it has, e.g. 127.0.0.1.`,
      )
    default:
      return new StartupError(`cannot listen on port ${port} of ${host}: ${error.message}`)
  }
}
