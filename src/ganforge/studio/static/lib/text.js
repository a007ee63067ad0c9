// Numbers and times as people read them.

export const number = (value) => (value === null || value === undefined ? "" : value.toLocaleString("en"));
export const short = (value) => {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  for (const [unit, letter] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return +(value / (letter === "k" ? 1e3 : unit)).toPrecision(5) + letter;
  }
  return String(+value.toPrecision(4));
};
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
export const date = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
/** Words of a key: learning_rate -> learning rate. */
export const words = (key) => key.replaceAll("_", " ");
/** A word of a shell command, quoted where it must be. */
export const quoted = (word) => (/^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${String(word).replaceAll("'", "'\\''")}'`);
