// Server-sent events by fetch: the browser's EventSource cannot send a token in a header, and in a URL it would be logged.

const SILENCE_MS = 12_000; // the server tells something, or a beat, every five seconds
const PAUSES_MS = [300, 700, 1500, 3000];

const SLICE_MS = 10;

export class Refused extends Error {}

export const headers = (token) => ({ authorization: `Bearer ${token}` });

/** GET, as JSON. Throws Refused if the token is not good for it, Error with the server's words otherwise. */
export async function get(token, path) {
  const answer = await fetch(path, { headers: headers(token), cache: "no-store" });
  if (answer.ok) return answer.json();
  throw await fault(answer);
}

async function fault(answer) {
  const problem = await answer.json().catch(() => ({}));
  const words = problem.detail ?? `the server answered ${answer.status}`;
  return answer.status === 401 || answer.status === 403 ? new Refused(words) : new Error(words);
}

let began = 0;

/** Thousands of nodes come in many events: between them the page answers to its reader. */
async function breath() {
  if (performance.now() - began < SLICE_MS) return;
  await new Promise((done) => setTimeout(done));
  began = performance.now();
}

export class Feed {
  /** `heard.event(name, body)`, `heard.open()`, `heard.away()`, `heard.refused(words)`, which is the end of it. */
  constructor(token, heard) {
    this.token = token;
    this.heard = heard;
    this.stopped = false;
    this.abort = null;
  }

  stop() {
    this.stopped = true;
    this.abort?.abort();
  }

  /** Until it is stopped or refused: comes back by itself, ever more patiently. */
  async run() {
    for (let tries = 0; !this.stopped; tries++) {
      try {
        await this.once(() => { tries = 0; });
      } catch (error) {
        if (this.stopped) return;
        if (error instanceof Refused) return this.heard.refused(error.message);
      }
      if (this.stopped) return;
      this.heard.away();
      await new Promise((done) => setTimeout(done, PAUSES_MS[Math.min(tries, PAUSES_MS.length - 1)]));
    }
  }

  async once(opened) {
    this.abort = new AbortController();
    const { signal } = this.abort;
    let watch = setTimeout(() => this.abort.abort(), SILENCE_MS);
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => this.abort.abort(), SILENCE_MS);
    };
    try {
      const answer = await fetch("v1/events", { headers: headers(this.token), cache: "no-store", signal });
      if (!answer.ok) throw await fault(answer);
      opened();
      this.heard.open();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          await breath();
          this.tell(block);
        }
      }
    } finally {
      clearTimeout(watch);
    }
  }

  tell(block) {
    let name = null;
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    if (name && !this.stopped) this.heard.event(name, JSON.parse(data.join("\n")));
  }
}
