// Numbers as the studio packs them: base64 of little-endian arrays, in units of the window.
export const UNITS = 16000;

function bytes(text) {
  const binary = atob(text), found = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) found[index] = binary.charCodeAt(index);
  return found;
}
export const int16 = (text) => new Int16Array(bytes(text).buffer);
export const uint8 = (text) => bytes(text);
