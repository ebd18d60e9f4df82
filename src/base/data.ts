// What is sent.

/** One piece of data. A string is sent as UTF-8. */
export type Data = string | ArrayBuffer | ArrayBufferView;

/** What is sent. An array is gathered into one message without being copied together (iovec). */
export type Payload = Data | readonly Data[];
