// Who looks: a token, kept by this tab only.

import { by } from "./dom.js";

const KEY = "verge-token"; // in sessionStorage: gone when the tab is closed

export const kept = () => sessionStorage.getItem(KEY);
export const keep = (token) => sessionStorage.setItem(KEY, token);

export function show(signedIn) {
  by("sign-in").hidden = signedIn;
  by("cloud").hidden = !signedIn;
  by("sign-out").hidden = !signedIn;
  by("link").hidden = !signedIn;
}

export function askForToken(why) {
  sessionStorage.removeItem(KEY);
  show(false);
  document.title = "Verge";
  by("token-fault").textContent = why;
  by("token").value = "";
  by("token").focus();
}

export function onSignIn(connect) {
  by("sign-in").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    by("token-fault").textContent = "";
    connect(by("token").value.trim());
  });
}
