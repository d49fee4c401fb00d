/** A UUIDv7: 48 bits of epoch milliseconds, then 74 random bits (RFC 9562, 5.7). */
export function newId() {
  // Not randomUUID(): that is missing on pages without TLS.
  const bytes = [...crypto.getRandomValues(new Uint8Array(10))];
  bytes[0] = (bytes[0] & 15) | 112;
  bytes[2] = (bytes[2] & 63) | 128;
  const hex = [Date.now().toString(16).padStart(12, "0"), ...bytes.map((byte) => byte.toString(16).padStart(2, "0"))];
  return hex.join("").replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
