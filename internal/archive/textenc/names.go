package textenc

import (
	"bytes"
	"io"
	"mime"
	"net/url"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// near is how many octets before a run of base64 are searched for its name.
const near = 2 << 10

// parameter finds file names as MIME gives them (RFC 2045 5.1, RFC 2183 2.3, RFC 2231), and in form data.
var parameter = regexp.MustCompile(`(?i)\b(?:file)?name(\*?)(?:[0-9]+\*?)?[ \t]*=[ \t]*(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))`)

// namesBefore gives the names that lines before a place, but behind the last find, speak of: those of the last
// paragraph that has any first.
func (s *scanner) namesBefore(start int64) ([]string, error) {
	from := max(s.last, start-near)
	before := make([]byte, start-from)
	if n, err := s.f.ReadAt(before, from); n < len(before) && err != io.EOF {
		return nil, err
	}
	if !bytes.Contains(bytes.ToLower(before), []byte("name")) {
		return nil, nil
	}
	var names []string
	all := parameter.FindAllSubmatch(before, -1)
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		raw := m[3]
		if m[2] != nil {
			raw = m[2]
		}
		names = tell.AddRaw(names, raw)
		text := string(raw)
		if strings.Contains(text, "=?") {
			if decoded, err := new(mime.WordDecoder).DecodeHeader(text); err == nil {
				names = tell.Add(names, decoded)
			}
		}
		if strings.Contains(text, `\`) {
			names = tell.Add(names, strings.ReplaceAll(text, `\`, ""))
		}
		if strings.Contains(text, "%") {
			if cut := strings.SplitN(text, "'", 3); len(cut) == 3 {
				text = cut[2]
			}
			if decoded, err := url.PathUnescape(text); err == nil {
				names = tell.AddRaw(names, []byte(decoded))
			}
		}
	}
	return names, nil
}
