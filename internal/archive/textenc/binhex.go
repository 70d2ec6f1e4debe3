package textenc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// binHexMark reports whether a line says that BinHex follows (RFC 1741 4).
func binHexMark(text []byte) bool {
	_, ok := cutFold(text, "(This file must be converted")
	return ok
}

// hqx holds the values of BinHex's 64 digits.
var hqx = func() (value [256]byte) {
	for i := range value {
		value[i] = 0xff
	}
	for i, c := range []byte("!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr") {
		value[c] = byte(i)
	}
	return value
}()

// binHex reads a file behind the current line.
func (s *scanner) binHex() error {
	start, after := s.lines.start, s.lines.end
	from, end, closed := int64(-1), int64(0), false
	for skipped := 0; !closed && s.lines.next(); {
		text := bytes.TrimSpace(s.lines.text)
		if from < 0 {
			if !bytes.HasPrefix(text, []byte(":")) {
				if skipped++; skipped > gap {
					break
				}
				continue
			}
			from, text = s.lines.start, text[1:]
		}
		digits, _, colon := bytes.Cut(text, []byte(":"))
		if bytes.ContainsFunc(digits, func(r rune) bool { return r > 0x7f || hqx[byte(r)] > 63 }) {
			break
		}
		end, closed = s.lines.end, colon
	}
	if s.lines.err != nil {
		return s.lines.err
	}
	s.lines.seek(max(end, after))
	if from < 0 || end == 0 {
		return nil
	}
	return s.forks(start, end, s.section(from, end, new(hqxReader).line))
}

// forks hands on the two forks of a BinHex file.
func (s *scanner) forks(start, end int64, digits io.Reader) error {
	r := bufio.NewReader(&runReader{r: bufio.NewReader(digits)})
	f := Find{Kind: BinHex, Start: start, End: end}
	head, err := binHexHead(r)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.Damage = damageHeader
		return s.found(f, bytes.NewReader(head))
	case err != nil:
		return err
	}
	f.Names = tell.AddRaw(nil, head[1:1+int(head[0])])
	sizes := head[len(head)-10:]
	data, resource := binary.BigEndian.Uint32(sizes), binary.BigEndian.Uint32(sizes[4:])
	if checksum(0, head[:len(head)-2]) != binary.BigEndian.Uint16(head[len(head)-2:]) {
		f.Damage = "the checksum of its header is wrong"
	}
	if err := s.fork(f, r, data); err != nil || resource == 0 {
		return err
	}
	f.Kind = BinHexFork
	return s.fork(f, r, resource)
}

// binHexHead reads the header: a name, and 22 octets with type, creator, flags, the sizes of the forks and a checksum.
func binHexHead(r io.Reader) ([]byte, error) {
	head := make([]byte, 1, 1+255+22)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	head = head[:int(head[0])+22]
	if n, err := io.ReadFull(r, head[1:]); err != nil {
		return head[:1+n], err
	}
	return head, nil
}

// fork hands on one fork, which the checksum follows.
func (s *scanner) fork(f Find, r io.Reader, size uint32) error {
	sum := &summed{r: io.LimitReader(r, int64(size))}
	file, problem, err := archive.Spool(s.ctx, sum, s.b)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	if problem != nil {
		return problem
	}
	if problem := s.b.Entry(); problem != nil {
		return problem
	}
	var said [2]byte
	if _, err := io.ReadFull(r, said[:]); err != nil || file.Size() < int64(size) {
		f.Damage = damageNoEnd
	} else if binary.BigEndian.Uint16(said[:]) != sum.sum {
		f.Damage = "its checksum is wrong"
	}
	s.last = f.End
	if err := s.visit(f, file); err != nil {
		return err
	}
	return s.b.Err()
}

// checksum is the CRC of BinHex, of the polynomial 0x1021.
func checksum(sum uint16, p []byte) uint16 {
	for _, c := range p {
		sum = sum<<8 ^ crcTable[byte(sum>>8)^c]
	}
	return sum
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		sum := uint16(i) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
		table[i] = sum
	}
	return table
}()

type summed struct {
	r   io.Reader
	sum uint16
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum = checksum(s.sum, p[:n])
	return n, err
}

// hqxReader decodes the digits between two colons.
type hqxReader struct {
	bits  uint32
	count int
	colon int
}

func (r *hqxReader) line(dst []byte, l *line) []byte {
	for _, c := range l.text {
		if c == ':' {
			r.colon++
		}
		v := hqx[c]
		if v > 63 || r.colon != 1 {
			continue
		}
		r.bits, r.count = r.bits<<6|uint32(v), r.count+6
		if r.count >= 8 {
			r.count -= 8
			dst = append(dst, byte(r.bits>>r.count))
		}
	}
	return dst
}

// runReader undoes BinHex's run lengths: 0x90 and a number repeat the octet before, 0x90 0x00 is 0x90.
type runReader struct {
	r    *bufio.Reader
	last byte
	left int
}

func (r *runReader) Read(p []byte) (int, error) {
	for i := range p {
		if r.left > 0 {
			p[i] = r.last
			r.left--
			continue
		}
		c, err := r.next()
		if err != nil {
			return i, err
		}
		p[i] = c
	}
	return len(p), nil
}

func (r *runReader) next() (byte, error) {
	const mark = 0x90
	for {
		c, err := r.r.ReadByte()
		if err != nil || c != mark {
			r.last = c
			return c, err
		}
		n, err := r.r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case n == 0:
			r.last = mark
			return mark, nil
		case n > 1:
			r.left = int(n) - 2
			return r.last, nil
		}
	}
}
