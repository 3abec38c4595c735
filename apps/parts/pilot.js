// What Streamlit cannot do by itself: the page follows the newest line, the input has the focus, keys work, a stopped
// page is run again, a lost connection is shown and the line is kept, and Streamlit's own texts are in the reader's
// language. One instance for the whole page; Streamlit calls the default export at every run of the script.

const NEAR_BOTTOM = 120 // pixels: who is nearer to the end follows it
const TYPING = "input, textarea, select, [contenteditable=true], [role=combobox], [role=dialog] *"

const find = (css) => document.querySelector(css)
const app = () => find('[data-testid="stApp"]')
const scroller = () => {
  let box = find('[data-testid="stMainBlockContainer"]')
  while (box && !["auto", "scroll"].includes(getComputedStyle(box).overflowY)) box = box.parentElement
  return box
}
const field = () => find('[data-testid="stChatInputTextArea"]')
const press = (css) => {
  const all = [...document.querySelectorAll(css)].filter((button) => !button.disabled)
  all.at(-1)?.click()
  return all.length > 0
}

function write(area, text) {
  // React ignores a value that is set without its own setter and an event.
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, text)
  area.dispatchEvent(new Event("input", { bubbles: true }))
}

class Pilot {
  constructor() {
    this.following = true
    this.state = ""
    for (const kind of ["wheel", "touchmove", "keydown", "pointerup"])
      document.addEventListener(kind, (event) => this.readerMay(event), { passive: true })
    document.addEventListener("keydown", (event) => this.key(event), true)
    document.addEventListener("input", (event) => this.keepDraft(event.target), true)
    document.addEventListener("click", (event) => { this.copy(event); this.pressFor(event) }, true)
    this.newest = document.createElement("button")
    this.newest.id = "newest"
    this.newest.hidden = true
    this.newest.onclick = () => { this.following = true; this.toEnd() }
    this.banner = document.createElement("div")
    this.banner.id = "offline"
    this.banner.setAttribute("role", "alert")
    this.banner.hidden = true
    const place = app() ?? document.body // where the colour scheme of the theme is
    place.append(this.newest, this.banner)
    new MutationObserver(() => this.soon()).observe(document.body, {
      subtree: true, childList: true, characterData: true, attributes: true,
      attributeFilter: ["data-test-script-state", "data-test-connection-state", "disabled"],
    })
  }

  run({ data, setTriggerValue }) {
    this.data = data
    this.rerun = () => setTriggerValue("stopped", Date.now())
    document.documentElement.lang = data.language
    this.newest.textContent = data.texts.newest
    this.banner.textContent = data.texts.offline
    this.soon()
  }

  soon() {
    if (this.waiting) return
    this.waiting = true
    requestAnimationFrame(() => { this.waiting = false; this.look() })
  }

  look() {
    if (!this.data) return
    this.translateSoon()
    const chat = field() && find(".said, .typing")
    const talk = find("#talk")?.dataset.id // while a page is drawn anew there is none for a moment
    this.talk = talk ?? (location.pathname === this.path ? this.talk : "")
    this.path = location.pathname
    if (this.page !== `${this.path} ${this.talk}`) {
      this.page = `${this.path} ${this.talk}`
      this.following = true
      this.focusLater = true
    }
    if (chat && this.following) this.toEnd()
    this.newest.hidden = !chat || this.following || this.distance() < NEAR_BOTTOM
    const connection = app()?.dataset.testConnectionState
    this.banner.hidden = !connection || connection === "CONNECTED" || connection === "INITIAL"
    const state = app()?.dataset.testScriptState
    if (state !== this.state) {
      this.state = state
      if (state === "notRunning") this.ended()
    }
    const area = field()
    const draft = find("#draft")
    if (draft && area && !area.disabled && draft.dataset.number !== this.draft) {
      this.draft = draft.dataset.number
      write(area, draft.dataset.text)
      this.focusLater = true
    }
    if (area && !area.disabled) this.restoreDraft(area)
    else if (area && area === this.restored?.area && !area.value && find(".generating")) this.keepDraft(area) // it was sent
    if (this.focusLater && area && !area.disabled && state === "notRunning") {
      this.focusLater = false
      this.focus(area)
    }
  }

  ended() {
    if (find(".generating")) this.rerun() // the visitor stopped the page in the middle of a reply
    else this.focusLater = true
  }

  focus(area) {
    const active = document.activeElement
    const busy = active && active !== document.body && active.matches(TYPING)
    if (!busy && !find('[role="dialog"]') && !matchMedia("(pointer: coarse)").matches) area.focus({ preventScroll: true })
  }

  scroller() { return scroller() }

  distance() {
    const box = scroller()
    return box ? box.scrollHeight - box.scrollTop - box.clientHeight : 0
  }

  readerMay(event) {
    // At once, else the next word scrolls back before the reader has moved away.
    if (event.deltaY < 0 || event.type === "touchmove" || event.key === "PageUp") this.following = false
    clearTimeout(this.later)
    this.later = setTimeout(() => { this.following = this.distance() < NEAR_BOTTOM; this.soon() }, 250)
  }

  toEnd() {
    const box = scroller()
    if (box && this.distance() > 1) box.scrollTop = box.scrollHeight
  }

  draftKey(area) { return `draft ${this.path} ${this.talk} ${area.placeholder}` }

  restoreDraft(area) {
    // Once for each field and conversation: the field may appear before its conversation is known.
    const before = this.restored
    const key = this.draftKey(area)
    if (area === before?.area && key === before.key) {
      if (!area.value) this.keepDraft(area) // it was sent: React fires no event
      return
    }
    this.restored = { area, key }
    if (area !== before?.area) this.focusLater = true
    else if (area.value) { // typed before the conversation was known, or taken along to another
      sessionStorage.removeItem(before.key)
      this.keepDraft(area)
    }
    const draft = sessionStorage.getItem(key)
    if (draft && !area.value) write(area, draft)
  }

  keepDraft(area) {
    if (area !== field()) return
    if (area.value) sessionStorage.setItem(this.draftKey(area), area.value)
    else sessionStorage.removeItem(this.draftKey(area))
  }

  key(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return
    const area = field()
    const writing = event.target.matches?.(TYPING) && !(event.target === area && !area.value)
    if (event.key === "Escape" && !find('[role="dialog"]')) {
      if (press('[data-testid="stChatInputStopButton"], .st-key-stop button')) event.preventDefault()
      else if (event.target.closest?.(".editor")) press(".st-key-cancel-edit button")
      else press(".st-key-close-beside button")
    } else if (!writing && event.key === "ArrowUp" && event.target === area) {
      if (press('[class*="st-key-edit-last"] button')) event.preventDefault()
    } else if (!writing && event.key === "ArrowLeft") press('[class*="st-key-chevron_left"] button')
    else if (!writing && event.key === "ArrowRight") {
      if (!press('[class*="st-key-chevron_right"] button')) press('[class*="st-key-swipe"] button')
    }
  }

  copy(event) {
    const button = event.target.closest?.('[class*="st-key-copy"] button')
    if (!button) return
    event.stopPropagation()
    const text = button.closest('[data-testid="stChatMessage"]')?.querySelector(".said")?.innerText ?? ""
    navigator.clipboard?.writeText(text.trim())
  }

  pressFor(event) {
    const key = event.target.closest?.("[data-press]")?.dataset.press
    if (key) press(`.st-key-${key.replaceAll(" ", "-")} button`)
  }

  translateSoon() {
    // Five times a second at most: the clock of a spinner changes the page at every frame.
    this.untranslated = true
    if (this.resting) return
    this.translate()
    this.untranslated = false
    this.resting = setTimeout(() => { this.resting = 0; if (this.untranslated) this.translateSoon() }, 200)
  }

  translate() {
    const texts = '[data-testid="stFileUploaderDropzone"] *, [data-testid="stFileUploader"] button *, [data-baseweb="select"] *,' +
      '[data-testid="stMultiSelect"] *, [data-testid="InputInstructions"], [data-testid="InputInstructions"] *, [role="listbox"] *,' +
      '[data-testid="stSelectbox"] *, [role="tooltip"] *, [data-testid="stElementToolbar"] *, [data-testid="stMainMenuPopover"] *,' +
      '[data-testid="stStatusWidget"] *, [data-testid="stException"] *, a[href^="#"]'
    for (const element of document.querySelectorAll(texts))
      for (const node of element.childNodes) {
        const own = node.nodeType === Node.TEXT_NODE && this.inLanguage(node.data.trim())
        if (own) node.data = own
      }
    for (const name of ["aria-label", "title", "placeholder"])
      for (const element of document.querySelectorAll(`[${name}]`)) {
        const own = this.inLanguage(element.getAttribute(name))
        if (own) element.setAttribute(name, own)
      }
  }

  inLanguage(text) {
    // A text of Streamlit's in the language of the page; undefined where it is none, or is so already.
    const { widgets } = this.data
    this.patterns ??= Object.keys(widgets).filter((key) => key.includes("{")).map((key) => [key, new RegExp(
      "^" + key.replace(/[.*+?^$()|[\]\\/]/g, "\\$&").replace(/{(\w+)}/g, "(?<$1>.+)") + "$")])
    let own = Object.hasOwn(widgets, text) ? widgets[text] : undefined
    for (const [key, pattern] of own ? [] : this.patterns) {
      const match = text.match(pattern)
      if (match) own = widgets[key].replace(/{(\w+)}/g, (_, name) => match.groups[name])
    }
    return own === text ? undefined : own
  }
}

export default function (component) {
  window.egosrag ??= new Pilot()
  window.egosrag.run(component)
}
