package cab

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// The methods of a folder (MS-CAB 2.2, "typeCompress").
const (
	methodMask    = 0x000f
	methodNone    = 0
	methodMSZIP   = 1
	methodQuantum = 2
	methodLZX     = 3
)

var errElsewhere = errors.New("its data goes on in another cabinet")

// blocks reads the CFDATA structures of a folder (MS-CAB 2.4).
type blocks struct {
	f       *archive.File
	at      int64
	left    int // structures to come
	reserve int // octets between the header and the data of each
	wrong   bool
	buf     []byte
}

// next gives the data of the next structure, and how much it unpacks to.
func (b *blocks) next() (data []byte, size int, err error) {
	if b.left == 0 {
		return nil, 0, io.EOF
	}
	b.left--
	head := make([]byte, 8+b.reserve)
	if ok, err := tell.ReadAt(b.f, head, b.at); err != nil || !ok {
		return nil, 0, errors.Join(err, errCut)
	}
	packed := int(binary.LittleEndian.Uint16(head[4:]))
	size = int(binary.LittleEndian.Uint16(head[6:]))
	if cap(b.buf) < packed {
		b.buf = make([]byte, 1<<16)
	}
	data = b.buf[:packed]
	if ok, err := tell.ReadAt(b.f, data, b.at+int64(len(head))); err != nil || !ok {
		return nil, 0, errors.Join(err, errCut)
	}
	b.at += int64(len(head) + packed)
	// Some programs leave the reserved octets out of the sum.
	if want := binary.LittleEndian.Uint32(head); want != 0 {
		sum := checksum(data, 0)
		b.wrong = b.wrong || want != checksum(head[4:], sum) && want != checksum(head[4:8], sum)
	}
	if size == 0 {
		return nil, 0, errElsewhere
	}
	return data, size, nil
}

// checksum is the sum of MS-CAB 3.1.
func checksum(b []byte, sum uint32) uint32 {
	for len(b) >= 4 {
		sum ^= binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	rest := uint32(0)
	for _, c := range b {
		rest = rest<<8 | uint32(c)
	}
	return sum ^ rest
}

// blockPrice is what walking over a structure costs, in unpacked octets.
const blockPrice = 64

// total walks over the structures and gives how much they unpack to. What follows damage is not counted: reading meets
// it again.
func (b blocks) total(budget *archive.Budget) (n int64, err error) {
	if err := budget.Spend(int64(b.left) * blockPrice); err != nil {
		return 0, err
	}
	head := make([]byte, 8)
	for ; b.left > 0; b.left-- {
		ok, err := tell.ReadAt(b.f, head, b.at)
		size := int64(binary.LittleEndian.Uint16(head[6:]))
		if err != nil || !ok || size == 0 {
			return n, err
		}
		n += size
		b.at += 8 + int64(b.reserve) + int64(binary.LittleEndian.Uint16(head[4:]))
	}
	return n, nil
}

// reader gives what a folder unpacks to.
func (b *blocks) reader(method uint16, budget *archive.Budget) (io.Reader, error) {
	switch method & methodMask {
	case methodNone:
		return &copied{b: b}, nil
	case methodMSZIP:
		return &mszip{b: b}, nil
	case methodQuantum:
		return nil, errors.New("it is packed by the method Quantum, which is not known")
	case methodLZX:
		total, err := b.total(budget)
		if err != nil {
			return nil, err
		}
		return newLZX(bufio.NewReader(&packedData{b: b}), int(method>>8&0x1f), total)
	}
	return nil, fmt.Errorf("it is packed by the method %d, which is not known", method&methodMask)
}

// copied reads data that is not packed.
type copied struct {
	b    *blocks
	rest []byte
}

func (c *copied) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		data, size, err := c.b.next()
		if err != nil {
			return 0, err
		}
		if size != len(data) {
			return 0, errors.New("its data has another size than is said")
		}
		c.rest = data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// packedData reads the data of all structures as one.
type packedData struct {
	b    *blocks
	rest []byte
}

func (c *packedData) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		data, _, err := c.b.next()
		if err != nil {
			return 0, err
		}
		c.rest = data
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// mszip unpacks MSZIP: each structure is a Deflate stream of its own, which looks back into those before it
// (MS-MCI 2).
type mszip struct {
	b    *blocks
	rest []byte
	past []byte // the last 32 KiB
	z    io.ReadCloser
	err  error
}

func (m *mszip) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		if err := m.nextBlock(); err != nil {
			return 0, err
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func (m *mszip) nextBlock() error {
	data, size, err := m.b.next()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(data, []byte("CK")) {
		return errors.New("its MSZIP data is damaged")
	}
	in := bytes.NewReader(data[2:])
	if m.z == nil {
		m.z = flate.NewReaderDict(in, m.past)
	} else if err := m.z.(flate.Resetter).Reset(in, m.past); err != nil {
		return err
	}
	out := make([]byte, size)
	n, err := io.ReadFull(m.z, out)
	if err != nil {
		m.err = fmt.Errorf("its MSZIP data is damaged: %w", err) // after what could be read
	}
	m.rest = out[:n]
	m.past = append(m.past, m.rest...)
	if len(m.past) > frameSize {
		m.past = m.past[len(m.past)-frameSize:]
	}
	return nil
}
