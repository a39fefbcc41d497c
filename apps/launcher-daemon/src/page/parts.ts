import { bytes, element, post } from './shared.ts'
import type { PagePart, PageStatus } from './shared.ts'

let isTouched = false
let shownParts = ''

/** Fills a list with one checkbox for each part of the game. */
export function fillParts(list: HTMLElement, parts: readonly PagePart[], changed: () => void): void {
  const rows = parts.map(({ name, title, bytes: size, isChosen }) => {
    const label = document.createElement('label')
    const box = document.createElement('input')
    box.type = 'checkbox'
    box.checked = isChosen
    box.value = name
    box.addEventListener('change', changed)
    const text = document.createElement('span')
    text.textContent = title
    const figure = document.createElement('small')
    figure.textContent = bytes(size)
    label.append(box, text, figure)
    return label
  })
  list.replaceChildren(...rows)
}

/** What is checked in such a list. */
export function chosenParts(list: HTMLElement): Record<string, boolean> {
  const boxes = [...list.querySelectorAll<HTMLInputElement>('input[type=checkbox]')]
  return Object.fromEntries(boxes.map(({ value, checked }) => [value, checked]))
}

/** Shows the parts of what is installed, unless the player is just choosing. */
export function listParts({ components, activity, isRunning, paused }: PageStatus): void {
  element('parts').hidden = components.length === 0
  element<HTMLButtonElement>('apply-parts').disabled = activity !== undefined || isRunning || paused
  const text = JSON.stringify([components, document.documentElement.lang])
  if (isTouched || text === shownParts) return
  shownParts = text
  fillParts(element('parts-list'), components, () => {
    isTouched = true
  })
}

/** Downloads or removes what the player chose. */
export function watchParts(): void {
  element('apply-parts').addEventListener('click', () => {
    isTouched = false
    void post('settings', { components: chosenParts(element('parts-list')) })
  })
}
