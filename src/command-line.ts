/** The grammar of the command line: what a command accepts, and the text that explains all of them. */
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { describeConfig } from './config.js'

export type Flags = Readonly<Record<string, string | boolean | undefined>>

export interface Command {
  meaning: string
  /** The flags that the command accepts. */
  options?: NonNullable<ParseArgsConfig['options']>
  run(flags: Flags): Promise<void>
}

/** Flags that set a variable. */
export const FLAG_VARIABLES: Readonly<Record<string, string>> = { tasks: 'TASKS_DIR', queues: 'WORKER_QUEUES' }

/** The flags, or a text that says what is wrong with them. */
export function readFlags(args: readonly string[], { options = {} }: Command): Flags | string {
  // `start` marks its roles with their data folder in the process list.
  const own = args.filter((argument) => !argument.startsWith('--data-dir='))
  try {
    return parseArgs({ args: own, options }).values as Flags
  } catch (error) {
    const isValueWrong = (error as NodeJS.ErrnoException).code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE'
    return isValueWrong
      ? `takes${describeFlags(options)}, not ${own.join(' ')}`
      : `takes no ${listUnknown(own, options).join(' ')}`
  }
}

/** The arguments that are neither flags of the command nor their values. */
function listUnknown(args: string[], options: NonNullable<Command['options']>): string[] {
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true })
  return tokens.flatMap((token) => {
    if (token.kind === 'option') return Object.hasOwn(options, token.name) ? [] : [token.rawName]
    return token.kind === 'positional' ? [token.value] : []
  })
}

/** All commands, and all settings from the environment. */
export function describeUsage(commands: Readonly<Record<string, Command>>): string {
  const lines = Object.entries(commands).map(
    ([name, { meaning, options }]) => `  ${name.padEnd(14)} ${meaning}${describeFlags(options)}`,
  )
  const variables = describeConfig().map(({ name, default: initial, meaning }) => {
    return `  ${name.padEnd(27)} ${meaning}${initial === '' ? '' : ` (${initial})`}`
  })
  return [
    'Usage: taskwire <command>',
    '',
    ...lines,
    '',
    'Settings from the environment (defaults in parentheses):',
    '',
    ...variables,
  ].join('\n')
}

function describeFlags(options: Command['options'] = {}): string {
  const flags = Object.entries(options).map(
    ([name, { type }]) => `[--${name}${type === 'string' ? ` ${FLAG_VARIABLES[name]}` : ''}]`,
  )
  return flags.length === 0 ? '' : ` ${flags.join(' ')}`
}
