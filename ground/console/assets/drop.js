// Takes a job folder, an archive or files, and sends them to the ground in one request.
export default {
  template: `<div class="sr-field">
    <label class="sr-drop" :class="{over}" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="drop">
      <input type="file" ref="files" multiple @change="send([...$refs.files.files])" aria-label="Upload a .tar, a .zip, or job.toml with its files">
      {{ busy ? "Sending…" : "Drop a .tar or .zip of a job folder here, or job.toml with its files; or press to choose them" }}
    </label>
    <label class="sr-drop" style="padding:8px"><input type="file" ref="folder" webkitdirectory @change="send([...$refs.folder.files])" aria-label="Upload a folder">Choose a whole folder</label></div>`,
  props: { url: String },
  data: () => ({ over: false, busy: false }),
  methods: {
    drop(event) { this.over = false; this.send([...event.dataTransfer.files]); },
    async send(files) {
      if (!files.length || this.busy) return;
      this.busy = true;
      const form = new FormData();
      for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
      try {
        const answer = await fetch(this.url, { method: "POST", body: form });
        const said = await answer.json().catch(() => ({}));
        this.$emit("sent", answer.ok ? said : { problem: `the ground answered ${answer.status}` });
      } catch (error) {
        this.$emit("sent", { problem: "the ground was not reached; is it still running?" });
      }
      this.busy = false;
      this.$refs.files.value = this.$refs.folder.value = "";
    },
  },
};
