package eval

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var (
	replyPrefix    = regexp.MustCompile(`(?i)^(?:(?:Re|Fwd|Fw|Aw|Antwort|WG|SV|VB|VS|VL):\s*)+`)
	subjectCharset = regexp.MustCompile(`(?i)=\?[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*\?`)
)

// allCaps finds subjects of several words that have no small letter. In charsets that are not Latin the letters of ASCII tell
// nothing.
func allCaps(m *Mail) (int, string) {
	s := bytes.TrimFunc(m.get(selSubject), func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
	s = s[len(replyPrefix.Find(s)):]
	if len(s) < 10 || !bytes.ContainsAny(s, " \t\n\v\f\r") {
		return 0, ""
	}
	letters := false
	for _, c := range s {
		if 'a' <= c && c <= 'z' {
			return 0, ""
		}
		letters = letters || 'A' <= c && c <= 'Z'
	}
	return yes(letters && !subjectCharset.Match(m.get(selSubjectRaw)), "")
}

func compileToInSubject(_ *Settings, args []string) (Check, error) {
	if len(args) != 1 || args[0] != "address" && args[0] != "user" {
		return nil, fmt.Errorf("eval: check_for_to_in_subject takes address or user, not %q", args)
	}
	whole := args[0] == "address"
	return func(m *Mail) (int, string) {
		to, subject := m.get(selToAddr), bytes.TrimSuffix(m.get(selSubject), []byte("\n"))
		if len(to) == 0 {
			return 0, ""
		}
		if whole {
			return yes(containsWord(lower(subject), lower(to)), "")
		}
		user, _, _ := bytes.Cut(to, []byte("@"))
		return yes(addresses(string(subject), string(user)), "")
	}, nil
}

// containsWord reports whether s contains w with word boundaries at its ends.
func containsWord(s, w []byte) bool {
	for from := 0; ; {
		i := bytes.Index(s[from:], w)
		if i < 0 {
			return false
		}
		i += from
		if boundaryAt(s, i) && boundaryAt(s, i+len(w)) {
			return true
		}
		from = i + 1
	}
}

func isWordOctet(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func boundaryAt(b []byte, i int) bool {
	return (i > 0 && isWordOctet(b[i-1])) != (i < len(b) && isWordOctet(b[i]))
}

var replyWord = regexp.MustCompile(`(?i)^(?:re|fw):\s*`)

// addresses reports whether a subject is about nothing but its reader: a name at its beginning, as one would call somebody.
func addresses(subject, user string) bool {
	const space = " \t\n\v\f\r"
	if p := replyWord.FindString(subject); p != "" {
		rest := subject[len(p):]
		if strings.EqualFold(rest, user) {
			return true
		}
		word := strings.TrimLeftFunc(rest, func(r rune) bool { return r < 0x80 && isWordOctet(byte(r)) })
		if len(word) < len(rest) {
			if after := strings.TrimLeft(word, space); len(after) < len(word) && strings.EqualFold(after, user) {
				return true
			}
		}
	}
	if rest, ok := strings.CutPrefix(subject, user); ok {
		rest = strings.TrimLeft(rest, space)
		if rest != "" && strings.IndexByte(",:;!?-", rest[0]) >= 0 && (len(rest) == 1 || strings.IndexByte(space, rest[1]) >= 0) {
			return true
		}
	}
	if strings.EqualFold(subject, user) {
		return true
	}
	rest, ok := strings.CutPrefix(subject, ",")
	if rest = strings.TrimLeft(rest, space); !ok || rest == "" || strings.IndexByte(",:;!?-", rest[len(rest)-1]) < 0 {
		return false
	}
	return strings.EqualFold(rest[:len(rest)-1], user)
}
