// Package redact takes secrets out of texts that a peer wrote: bodies, header
// fields, status lines, errors.
//
// A server can echo a credential in any form. The forms that common servers
// produce are replaced where they stand. A text that holds the credential in
// any other form that can be decoded, such as hexadecimal, character references
// of HTML, UTF-16 or two encodings on top of each other, is withheld as a whole:
// it is of less use than the credential is to others. The work is linear in the
// size of the text, whatever the peer writes.
package redact
