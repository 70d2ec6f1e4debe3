package mapi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// preset is what the dictionary of compressed rich text holds at the start (MS-OXRTFCP 2.1.2.1).
const preset = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript " +
	"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par " +
	"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

const dictionary = 4096

var (
	errForm  = errors.New("the compression of the rich text is not known")
	errShort = errors.New("the rich text ends early")
	errSum   = errors.New("the checksum of the rich text is wrong")
)

// Decompress gives the rich text of a property RTF. Its errors, but for those of r, are of the content.
func Decompress(r io.Reader) io.Reader { return &rtf{r: bufio.NewReader(r)} }

type rtf struct {
	r    *bufio.Reader
	err  error
	raw  int64 // octets that were promised and have not come
	sum  uint32
	said uint32

	begun bool
	plain bool
	dict  [dictionary]byte
	at    int
	flags byte
	bits  int

	from, left int // what is to be copied from the dictionary
}

// header reads the 16 octets at the start (MS-OXRTFCP 2.1.3.1).
func (d *rtf) header() error {
	var head [16]byte
	if _, err := io.ReadFull(d.r, head[:]); err != nil {
		return short(err)
	}
	d.raw = int64(binary.LittleEndian.Uint32(head[4:]))
	d.said = binary.LittleEndian.Uint32(head[12:])
	switch string(head[8:12]) {
	case "LZFu":
		d.at = copy(d.dict[:], preset)
		for i := d.at; i < dictionary; i++ {
			d.dict[i] = ' '
		}
	case "MELA":
		d.plain = true
	default:
		return errForm
	}
	return nil
}

func short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errShort
	}
	return err
}

func (d *rtf) Read(p []byte) (int, error) {
	if d.err == nil && !d.begun {
		d.begun = true
		d.err = d.header()
	}
	if d.err != nil {
		return 0, d.err
	}
	if d.plain {
		n, err := d.r.Read(p[:min(int64(len(p)), max(d.raw, 1))])
		if d.raw -= int64(n); d.raw <= 0 && err == nil {
			err = io.EOF
		} else if err == io.EOF && d.raw > 0 {
			err = errShort
		}
		d.err = err
		return n, err
	}
	n := 0
	for n < len(p) {
		c, err := d.next()
		if err != nil {
			d.err = err
			return n, err
		}
		p[n] = c
		n++
		d.raw--
	}
	return n, nil
}

// octet reads one octet of the compressed text, which counts for the checksum: that of ZIP without its inversions
// (MS-OXRTFCP 2.1.3.2).
func (d *rtf) octet() (byte, error) {
	c, err := d.r.ReadByte()
	if err == nil {
		d.sum = sum(d.sum, c)
	}
	return c, err
}

func sum(sum uint32, c byte) uint32 { return crc32.IEEETable[byte(sum)^c] ^ sum>>8 }

func (d *rtf) next() (byte, error) {
	for d.left == 0 {
		if d.bits == 0 {
			flags, err := d.octet()
			if err != nil {
				return 0, d.end(err)
			}
			d.flags, d.bits = flags, 8
		}
		reference := d.flags&1 != 0
		d.flags, d.bits = d.flags>>1, d.bits-1
		c, err := d.octet()
		if err != nil {
			return 0, d.end(err)
		}
		if !reference {
			return d.put(c), nil
		}
		low, err := d.octet()
		if err != nil {
			return 0, d.end(err)
		}
		// A reference to where the next octet will go is the end (MS-OXRTFCP 2.2.3.1).
		if d.from = int(c)<<4 | int(low)>>4; d.from == d.at {
			if d.sum != d.said {
				return 0, errSum
			}
			return 0, d.end(io.EOF)
		}
		d.left = int(low&15) + 2
	}
	d.left--
	c := d.dict[d.from]
	d.from = (d.from + 1) % dictionary
	return d.put(c), nil
}

func (d *rtf) put(c byte) byte {
	d.dict[d.at] = c
	d.at = (d.at + 1) % dictionary
	return c
}

// end judges the end of the compressed text: it is one where all has come that was promised.
func (d *rtf) end(err error) error {
	if err == io.EOF && d.raw > 0 {
		return errShort
	}
	return err
}
