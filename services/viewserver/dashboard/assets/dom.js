// Elements from values. Text is always set as text: nothing the server says is ever read as HTML.

import { age } from "./format.js";

export const by = (id) => document.getElementById(id);

/** el("td", {class: "number", title: "…"}, "text", child, …); an attribute that is null, undefined or false is left out. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A cell of a table that becomes a stack of labelled lines on a phone. */
export const cell = (label, attributes, ...children) =>
  el("td", { role: "cell", "data-label": label, ...attributes }, ...children);

/** How long ago that was, by the server's clock; `grow` keeps it true without making its row anew. */
export const since = (at, suffix = "") => el("span", { "data-since": at, "data-suffix": suffix });

export function grow(now) {
  for (const span of document.querySelectorAll("[data-since]")) {
    const text = age(now - Date.parse(span.dataset.since)) + span.dataset.suffix;
    if (span.textContent !== text) span.textContent = text;
  }
}

const said = new WeakMap();

/**
 * Make the parent's children those of `items`, in order. An element is made anew only if its item's `text` changed,
 * so focus, selection and what a screen reader is reading stay where they are.
 */
export function keyed(parent, items, key, text, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const words = text(item);
    let child = known.get(name);
    known.delete(name);
    if (!child || said.get(child) !== words) {
      const made = make(item);
      made.dataset.key = name;
      said.set(made, words);
      if (child) replace(child, made, () => { if (place === child) place = made; });
      child = made;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of known.values()) child.remove();
}

/** Focus stays on what takes the place of the focused element. */
function replace(old, made, moved) {
  const focused = old.contains(document.activeElement);
  old.replaceWith(made);
  moved();
  if (focused) (made.matches("button") ? made : made.querySelector("button"))?.focus();
}
