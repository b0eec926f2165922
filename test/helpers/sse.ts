/** Reads server-sent events as they arrive, field by field. */
export interface ServerSentEvent {
  id: string | undefined
  event: string | undefined
  data: string | undefined
  retry: string | undefined
}

export async function* readEvents(answer: Response): AsyncGenerator<ServerSentEvent> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const fields = new Map(
        block
          .split('\n')
          .filter((line) => !line.startsWith(':'))
          .map((line) => line.split(/: (.*)/s) as [string, string]),
      )
      if (fields.size > 0)
        yield { id: fields.get('id'), event: fields.get('event'), data: fields.get('data'), retry: fields.get('retry') }
    }
  }
}

export async function readAllEvents(answer: Response): Promise<ServerSentEvent[]> {
  const events = []
  for await (const event of readEvents(answer)) events.push(event)
  return events
}
