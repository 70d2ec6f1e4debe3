package vba

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/postern-mail/postern/internal/archive"
)

// chunk is how many octets one chunk holds (MS-OVBA 2.4.1.1.3).
const chunk = 4096

// Decompress undoes the compression of MS-OVBA 2.4.1 and spends what it makes, which is at most limit octets. What
// follows the last whole chunk is no problem: streams may be longer than what they hold.
func Decompress(in []byte, limit int, b *archive.Budget) (out []byte, problem error) {
	if len(in) == 0 || in[0] != 1 {
		return nil, errors.New("vba: no compressed container")
	}
	for in = in[1:]; len(in) >= 2; {
		head := binary.LittleEndian.Uint16(in)
		size := int(head&0xfff) + 3
		if head>>12&7 != 3 {
			if len(out) == 0 {
				return nil, errors.New("vba: no compressed chunk")
			}
			if head == 0 {
				return out, nil // filled up with zeros
			}
			return out, fmt.Errorf("vba: after %d octets there is no chunk", len(out))
		}
		if size > len(in) {
			problem = errors.New("vba: a chunk is cut short")
			size = len(in)
		}
		before := len(out)
		if head>>15 == 0 {
			out = append(out, in[2:min(size, 2+chunk)]...)
		} else {
			var err error
			if out, err = decompressChunk(out, in[2:size]); err != nil {
				problem = err
			}
		}
		if err := b.Spend(int64(len(out) - before)); err != nil {
			return out, err
		}
		if problem == nil && len(out) > limit {
			problem = fmt.Errorf("vba: more than %d octets", limit)
		}
		if problem != nil {
			return out, problem
		}
		in = in[size:]
	}
	return out, nil
}

// decompressChunk adds what one chunk holds (MS-OVBA 2.4.1.3.2): octets and copies of earlier ones of the chunk.
func decompressChunk(out, in []byte) ([]byte, error) {
	start := len(out)
	for len(in) > 0 {
		flags := in[0]
		in = in[1:]
		for bit := 0; bit < 8 && len(in) > 0; bit++ {
			if flags>>bit&1 == 0 {
				out = append(out, in[0])
				in = in[1:]
				continue
			}
			if len(in) < 2 {
				return out, errors.New("vba: a copy is cut short")
			}
			token := binary.LittleEndian.Uint16(in)
			in = in[2:]
			offset, length := copyToken(token, len(out)-start)
			if offset > len(out)-start {
				return out, errors.New("vba: a copy from before the chunk")
			}
			if len(out)-start+length > chunk {
				return out, errors.New("vba: a chunk holds too much")
			}
			for range length {
				out = append(out, out[len(out)-offset])
			}
		}
	}
	if len(out)-start > chunk {
		return out, errors.New("vba: a chunk holds too much")
	}
	return out, nil
}

// copyToken splits a token into how far back to go and how much to copy, for which the number of bits depends on the
// place in the chunk (MS-OVBA 2.4.1.3.19.1).
func copyToken(token uint16, at int) (offset, length int) {
	bits := 4
	for 1<<bits < at {
		bits++
	}
	mask := uint16(0xffff) >> bits
	return int(token&^mask>>(16-bits)) + 1, int(token&mask) + 3
}
