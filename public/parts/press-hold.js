/** Nothing moves under a pressed pointer, so that a slow click hits what was pressed. */

/** @returns a function that runs an action: at once, or, of those meanwhile the last, after the press in `element` */
export function createPressHold(element) {
  let pressed
  let held
  element.addEventListener('pointerdown', () => {
    pressed?.abort()
    pressed = new AbortController()
    for (const end of ['pointerup', 'pointercancel', 'dragend', 'blur'])
      window.addEventListener(end, () => setTimeout(release), { signal: pressed.signal }) // after the click
  })
  function release() {
    pressed?.abort()
    pressed = undefined
    const action = held
    held = undefined
    action?.()
  }
  return (action) => {
    if (pressed === undefined) action()
    else held = action
  }
}
