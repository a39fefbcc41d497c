/** A feature that takes longer hangs; long enough for a busy machine. */
const LIMIT_MS = 90_000

async function limited(feature) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${LIMIT_MS / 1000} s`)), LIMIT_MS)
  })
  try {
    await Promise.race([feature(), late])
  } finally {
    clearTimeout(timer)
  }
}

async function outcome(program, feature, call) {
  try {
    await limited(call)
    return { program, feature, works: true }
  } catch (error) {
    return { program, feature, works: false, code: error?.code ?? '', message: String(error?.message ?? error) }
  }
}

/** Runs the features of each program and gives every outcome to `print`, the first before the second starts. */
export async function runPrograms(programs, print) {
  for (const [name, load] of programs) {
    let features
    try {
      ;({ features } = await load())
    } catch (error) {
      print(await outcome(name, '', () => Promise.reject(error)))
      continue
    }
    for (const [feature, call] of Object.entries(features)) print(await outcome(name, feature, async () => call()))
  }
}
