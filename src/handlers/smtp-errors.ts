/**
 * What an error of the mail server means for a task.
 *
 * Final is what the server says about this message: an address that it does not know, a sender that it does not take, a message that
 * is too large. Everything else is tried again: an answer that asks for patience (4xx), a connection that broke, and whatever the
 * operator of either server can fix without the task: a wrong password, a missing TLS, a server that takes no mail at the moment.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1 and https://www.rfc-editor.org/rfc/rfc4954#section-6
 */
import { PermanentFailure } from '../definitions/outcome-errors.js'

/** As nodemailer throws it. */
interface SmtpError {
  /** Of the server's last answer; missing when it gave none. */
  responseCode?: number
  response?: string
  /** `EENVELOPE`, `EAUTH`, … */
  code?: string
  /** What was sent before: `CONN`, `EHLO`, `AUTH PLAIN`, `MAIL FROM`, `RCPT TO`, `DATA`. */
  command?: string
  message: string
}

/** Commands that are about this message. An answer to any other is about the connection, the login or the server. */
const ABOUT_THE_MESSAGE = ['MAIL FROM', 'RCPT TO', 'DATA']
/** 530, 534, 535, 538: the login. 521: takes no mail. 552 to a recipient: full, RFC 5321 section 4.5.3.1.10. */
const FIXABLE_CODES = [521, 530, 534, 535, 538]
/** Enhanced codes (RFC 3463): the mail system, the network, encryption, the login. */
const FIXABLE_ENHANCED = /^\d{3}[ -]5\.(3\.[025]|4\.\d+|7\.(4|5|8|9|10|11|14))\b/
const RELAY_REFUSED = /\brelay/i

/** @param isOwnSender whether the task names its sender; a sender that the configuration names is the operator's to fix */
export function explainSmtpError(error: unknown, isOwnSender: boolean): Error {
  const smtp = error as SmtpError
  return isFinal(smtp, isOwnSender)
    ? new PermanentFailure(`the mail server refused: ${smtp.message}`, { cause: error })
    : new Error(`the e-mail was not sent: ${smtp.message}`, { cause: error })
}

function isFinal({ responseCode, response = '', code, command = '' }: SmtpError, isOwnSender: boolean): boolean {
  // Refused before anything was sent: an address that cannot be written in SMTP, a message above the size that the server announced.
  if (responseCode === undefined) return code === 'EENVELOPE' || code === 'EMESSAGE'
  if (responseCode < 500 || !ABOUT_THE_MESSAGE.includes(command)) return false
  if (FIXABLE_CODES.includes(responseCode) || FIXABLE_ENHANCED.test(response) || RELAY_REFUSED.test(response)) return false
  if (command === 'RCPT TO' && responseCode === 552) return false
  return command !== 'MAIL FROM' || isOwnSender
}
