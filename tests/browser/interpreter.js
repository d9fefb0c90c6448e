// Runs the checks of test_websocket_interface.py on the WebSocket of the browser: the twin of interpreter.py.
// A check is a list of steps, each an array: the name of a method of `Run`, and its arguments.
async ([checks, hosts]) => {
  const LIMIT = 5000; // milliseconds that a check may take
  const pause = (delay) => new Promise((resolve) => setTimeout(resolve, delay));
  const named = (text) => Object.entries(hosts).reduce((result, [name, host]) => result.replaceAll(name, host), text);

  class Run {
    constructor() {
      this.log = [];
      this.counts = {};
      this.functions = {};
      this.events = {};
    }

    note(value) {
      for (const [name, host] of Object.entries(hosts))
        if (typeof value === "string") value = value.replaceAll(host, name);
      this.log.push(value === undefined ? null : value);
    }

    noteData(data) {
      if (data instanceof Blob) this.note(data.arrayBuffer().then((buffer) => ["blob", ...new Uint8Array(buffer)]));
      else if (data instanceof ArrayBuffer) this.note(["arraybuffer", ...new Uint8Array(data)]);
      else this.note(data.length > 1000 ? ["text of", data.length] : data);
    }

    listener(label, actions) {
      this.functions[label] ??= (event) => {
        this.note(label);
        return this.act(actions, event);
      };
      return this.functions[label];
    }

    act(actions, event) {
      let result;
      for (const [name, ...args] of actions) {
        if (name === "fail") throw new Error("on purpose");
        else if (name === "give") result = args[0];
        else if (name === "call") event[args[0]]();
        else if (name === "event") for (const key of args) this.note(event[key] === this.socket ? "socket" : event[key]);
        else this.step(name, args);
      }
      return result;
    }

    step(name, args) {
      try {
        return this[name](...args);
      } catch (error) {
        this.note(`throws ${error.name}`);
      }
    }

    new(url, protocols) {
      url = named(url);
      this.socket = protocols === null ? new WebSocket(url) : new WebSocket(url, protocols);
      for (const type of ["open", "message", "error", "close"])
        this.socket.addEventListener(type, () => (this.counts[type] = (this.counts[type] ?? 0) + 1));
    }

    watch() {
      this.socket.addEventListener("open", () => this.note("open"));
      this.socket.addEventListener("message", ({data}) => this.noteData(data));
      this.socket.addEventListener("error", () => this.note("error"));
      this.socket.addEventListener("close", ({code, reason, wasClean}) => this.note([code, reason, wasClean]));
    }

    get(...names) { for (const name of names) this.note(this.socket[name]); }
    constant(name) { this.note(WebSocket[name]); }
    set(name, value) { this.socket[name] = value; }
    send(data) { this.socket.send(data); }
    send_bytes(bytes) { this.socket.send(new Uint8Array(bytes)); }
    send_part(bytes, begin, end) { this.socket.send(new Uint8Array(bytes).subarray(begin, end)); }
    send_repeated(text, n) { this.socket.send(text.repeat(n)); }
    close(...args) { this.socket.close(...args.map((value) => value ?? undefined)); }
    on(type, label, actions) { this.socket["on" + type] = label === null ? null : this.listener(label, actions); }
    has_handler(type) { this.note(this.socket["on" + type] !== null); }
    listen(type, label, options, actions) { this.socket.addEventListener(type, this.listener(label, actions), options); }
    listen_object(type, label, options, actions) {
      const handleEvent = this.listener(label, actions);
      this.functions[label + " object"] ??= {handleEvent};
      this.socket.addEventListener(type, this.functions[label + " object"], options);
    }
    unlisten(type, label, options) { this.socket.removeEventListener(type, this.functions[label], options); }
    unlisten_object(type, label) { this.socket.removeEventListener(type, this.functions[label + " object"]); }
    listen_none(type) { this.socket.addEventListener(type, null); }
    make(kind, label, type, init) {
      this.events[label] = new {Event, MessageEvent, CloseEvent}[kind](type, init);
    }
    dispatch(label) { this.note(this.socket.dispatchEvent(this.events[label])); }
    read(label, ...names) {
      for (const name of names)
        this.note(this.events[label][name] === this.socket ? "socket" : this.events[label][name]);
    }

    async wait(type, n) { while ((this.counts[type] ?? 0) < n) await pause(1); }
    async until(name, value) { while (this.socket[name] !== value) await pause(1); }
    async next(type) {
      const event = await new Promise((resolve) => this.socket.addEventListener(type, resolve, {once: true}));
      this.noteData(event.data);
    }
    async rest(milliseconds) { await pause(milliseconds); }
  }

  let run = null;
  addEventListener("error", () => run.note("reported")); // of exceptions that listeners throw

  const results = [];
  for (const steps of checks) {
    const current = (run = new Run());
    let isLate = false;
    const limit = pause(LIMIT).then(() => (isLate = true));
    const work = (async () => {
      for (const [name, ...args] of steps) {
        if (isLate) break;
        await current.step(name, args);
      }
    })();
    await Promise.race([work, limit]);
    if (isLate) run.note("time is over");
    run.socket?.close();
    results.push(await Promise.all([...run.log]));
  }
  return results;
}
