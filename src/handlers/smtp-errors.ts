/**
 * What an error of the mail server means for a task.
 *
 * An answer about this message is final: an unknown address, a refused sender, a message that is too large. Everything
 * else is retried: a temporary error (4xx), a broken connection, and anything that the operator of either server can
 * fix without the task: a wrong password, missing TLS, a server that accepts no mail at the moment.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1 and https://www.rfc-editor.org/rfc/rfc4954#section-6
 */
import { PermanentFailure } from '../definitions/outcome-errors.js'

/** The error as thrown by nodemailer. */
interface SmtpError {
  /** The code of the server's last answer; missing if it gave none. */
  responseCode?: number
  response?: string
  /** `EENVELOPE`, `EAUTH`, … */
  code?: string
  /** The last command sent: `CONN`, `EHLO`, `AUTH PLAIN`, `MAIL FROM`, `RCPT TO`, `DATA`. */
  command?: string
  message: string
}

/** Commands about this message. An answer to any other is about the connection, the login or the server. */
const ABOUT_THE_MESSAGE = ['MAIL FROM', 'RCPT TO', 'DATA']
/**
 * 530, 534, 535, 538: the login. 521: accepts no mail. 552 for a recipient: mailbox full, RFC 5321 section 4.5.3.1.10.
 */
const FIXABLE_CODES = [521, 530, 534, 535, 538]
/** Enhanced codes (RFC 3463): the mail system, the network, encryption, the login. */
const FIXABLE_ENHANCED = /^\d{3}[ -]5\.(3\.[025]|4\.\d+|7\.(4|5|8|9|10|11|14))\b/
const RELAY_REFUSED = /\brelay/i

/** @param isOwnSender whether the task names its sender; a sender from the configuration is the operator's to fix */
export function explainSmtpError(error: unknown, isOwnSender: boolean): Error {
  const smtp = error as SmtpError
  return isFinal(smtp, isOwnSender)
    ? new PermanentFailure(`the mail server refused: ${smtp.message}`, { cause: error })
    : new Error(`could not send the e-mail: ${smtp.message}`, { cause: error })
}

function isFinal({ responseCode, response = '', code, command = '' }: SmtpError, isOwnSender: boolean): boolean {
  // Refused before anything was sent: an address that cannot be written in SMTP, a message larger than the size that
  // the server announced.
  if (responseCode === undefined) return code === 'EENVELOPE' || code === 'EMESSAGE'
  if (responseCode < 500 || !ABOUT_THE_MESSAGE.includes(command)) return false
  if (FIXABLE_CODES.includes(responseCode) || FIXABLE_ENHANCED.test(response) || RELAY_REFUSED.test(response))
    return false
  if (command === 'RCPT TO' && responseCode === 552) return false
  return command !== 'MAIL FROM' || isOwnSender
}
