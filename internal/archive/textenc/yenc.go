package textenc

import (
	"bytes"
	"hash"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// yHead is a =ybegin line.
type yHead struct {
	size, part string
	name       []byte
}

func yHeadOf(text []byte) (h yHead, ok bool) {
	before, name, named := bytes.Cut(text, []byte(" name="))
	words := yWords(before)
	_, lined := words["line"]
	h = yHead{words["size"], words["part"], bytes.TrimSpace(name)}
	return h, named && (lined || h.size != "")
}

// yWords gives what a line of yEnc says: yEnc 1.3. The name, which may hold blanks, is not among it.
func yWords(text []byte) map[string]string {
	words := map[string]string{}
	for _, word := range bytes.Fields(text[:min(len(text), 256)]) {
		if key, value, ok := bytes.Cut(word, []byte("=")); ok && len(key) > 0 {
			words[string(key)] = string(value)
		}
	}
	return words
}

// gap is how many lines may lie between two parts of a file.
const gap = 8

// yenc reads a file that begins with the current line; parts of it that follow one another in this text are one.
func (s *scanner) yenc() error {
	head, ok := yHeadOf(s.lines.text)
	if !ok {
		return nil
	}
	f := Find{Kind: YEnc, Start: s.lines.start, End: s.lines.end, Names: tell.AddRaw(nil, head.name)}
	var last map[string]string
	parts, ended := 1, false
	for outside := 0; s.lines.next(); {
		text := s.lines.text
		switch {
		case s.lines.cont && !ended:
			f.End = s.lines.end
			continue
		case s.lines.cont:
			continue
		case bytes.HasPrefix(text, []byte("=ybegin ")):
			next, ok := yHeadOf(text)
			if !ok || !ended || next.part == "" || !bytes.Equal(next.name, head.name) {
				outside = gap + 1
				break
			}
			parts++
			ended, outside = false, 0
		case ended:
			outside++
		case bytes.HasPrefix(text, []byte("=yend")):
			last, ended = yWords(text), true
			f.End = s.lines.end
		}
		if outside > gap {
			break
		}
		if !ended {
			f.End = s.lines.end
		}
	}
	if s.lines.err != nil {
		return s.lines.err
	}
	s.lines.seek(f.End)
	damage, err := s.yDamage(f, head, last, parts)
	if err != nil {
		return err
	}
	f.Damage = damage
	return s.found(f, s.section(f.Start, f.End, new(yReader).line))
}

// yDamage compares a file with what its last line says of it.
func (s *scanner) yDamage(f Find, head yHead, last map[string]string, parts int) (string, error) {
	if last == nil {
		return damageNoEnd, nil
	}
	sum := crc32.NewIEEE()
	size, err := io.Copy(sum, s.section(f.Start, f.End, new(yReader).line))
	if err != nil {
		return "", err
	}
	switch {
	case parts == 1 && last["size"] != "" && last["size"] != strconv.FormatInt(size, 10):
		return "its size is not what it says", nil
	case parts == 1 && head.part == "" && !sameCRC(sum, last["crc32"]),
		parts == 1 && head.part != "" && !sameCRC(sum, last["pcrc32"]),
		parts > 1 && head.size == strconv.FormatInt(size, 10) && !sameCRC(sum, last["crc32"]):
		return "its checksum is wrong", nil
	}
	return "", nil
}

func sameCRC(sum hash.Hash32, said string) bool {
	n, err := strconv.ParseUint(said, 16, 64)
	return said == "" || err != nil || uint32(n) == sum.Sum32()
}

// yReader decodes the data lines of one or several parts.
type yReader struct {
	inside  bool
	escaped bool
}

func (r *yReader) line(dst []byte, l *line) []byte {
	if !l.cont {
		r.escaped = false
		switch {
		case bytes.HasPrefix(l.text, []byte("=ybegin ")):
			r.inside = true
			return dst
		case bytes.HasPrefix(l.text, []byte("=ypart ")):
			return dst
		case bytes.HasPrefix(l.text, []byte("=yend")):
			r.inside = false
		}
	}
	if !r.inside {
		return dst
	}
	for _, c := range l.text {
		switch {
		case r.escaped:
			dst, r.escaped = append(dst, c-64-42), false
		case c == '=':
			r.escaped = true
		default:
			dst = append(dst, c-42)
		}
	}
	return dst
}
