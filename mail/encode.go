package mail

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
)

// EncodeText gives the octets of a text as the body of a part, and the Content-Transfer-Encoding (RFC 2045 6) that goes
// with it: as they are where they may travel as 7bit, else in quoted-printable, or in base64 where more than half of it
// would be escaped or a line end is no CRLF, which that alone keeps. 8bit is not used: the next server may not take it
// (RFC 6152). A line that begins with "--" is encoded too, since it might be a delimiter of the multipart around it (RFC
// 2046 5.1.1).
func EncodeText(text []byte) (body []byte, encoding string) {
	if checkLines(text) != nil {
		return encodeBase64(text), "base64"
	}
	escapes := 0 // octets that quoted-printable makes three of
	seven := true
	for line := range bytes.Lines(text) {
		seven = seven && len(line) <= mostLine+2 && !bytes.HasPrefix(line, []byte("--"))
		for _, c := range line {
			if c >= 0x7f || c == '=' {
				escapes++
				seven = seven && c < 0x80
			}
		}
	}
	if seven {
		return text, "7bit"
	}
	if escapes > len(text)/2 {
		return encodeBase64(text), "base64"
	}
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write(text) // a Buffer takes everything
	_ = w.Close()
	body = bytes.ReplaceAll(b.Bytes(), []byte("\r\n--"), []byte("\r\n=2D-"))
	if bytes.HasPrefix(body, []byte("--")) {
		body = append([]byte("=2D"), body[1:]...)
	}
	return body, "quoted-printable"
}

// mostLine is how many octets a line may have without its CRLF (RFC 2045 2.7, RFC 5322 2.1.1).
const mostLine = 998

func encodeBase64(text []byte) []byte {
	var b bytes.Buffer
	b.Grow(base64.StdEncoding.EncodedLen(len(text)) * 78 / 76)
	w := &base64Lines{w: &b}
	_, _ = w.Write(text)
	w.Close()
	return b.Bytes()
}
