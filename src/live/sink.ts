/** The outside of a stream: where its frames go. */
export interface Sink {
  /** Hands a text frame to the transport. Never blocks, never throws. */
  send(frame: string): void
  /** What the transport holds and has not sent yet, in bytes. */
  bufferedBytes(): number
  /** Ends the connection after what was handed over. Codes: `CLOSE_CODES` in `protocol/stream.ts`. */
  close(code: number, reason: string): void
}
