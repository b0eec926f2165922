/** Says in one line why an address cannot be listened on, and what to do about it. */
import { StartupError } from './startup-error.js'

export function describeListenError(error: NodeJS.ErrnoException, host: string, port: number): StartupError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new StartupError(`port ${port} on ${host} is taken. Set PORT to a free one, or stop what uses it.`)
    case 'EACCES':
      return new StartupError(`port ${port} on ${host} may not be used by this user. Set PORT to one above 1023.`)
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new StartupError(`${host} is not an address of this machine. Set HOST to one, e.g. 127.0.0.1.`)
    default:
      return new StartupError(`cannot listen on port ${port} of ${host}: ${error.message}`)
  }
}
