package disk

import (
	"encoding/binary"
	"strings"

	"github.com/postern-mail/postern/internal/archive/tell"
)

// rock is what the system use fields of a directory record say (RRIP 4.1, SUSP 5).
type rock struct {
	names     []string
	link      string
	relocated int64 // place of the folder that the record stands for
	packed    bool  // by zisofs
}

// maxAreas is how many continuation areas one record may have.
const maxAreas = 32

// rockRidge reads the fields, also where they are continued.
func (w *walk) rockRidge(t *tree, use []byte) (r rock, err error) {
	var name []byte
	var link strings.Builder
	for range maxAreas {
		var next []byte
		for len(use) >= 4 {
			n := int(use[2])
			if n < 4 || n > len(use) {
				break
			}
			field, body := string(use[:2]), use[4:n]
			use = use[n:]
			switch field {
			case "NM":
				if len(body) > 0 {
					name = append(name, body[1:]...)
				}
			case "SL":
				if len(body) > 0 {
					components(&link, body[1:])
				}
			case "CL":
				if len(body) >= 8 {
					r.relocated = int64(binary.LittleEndian.Uint32(body)) * t.block
				}
			case "ZF":
				r.packed = true
			case "CE":
				if len(body) >= 24 {
					next = body
				}
			case "ST":
				use = nil
			}
		}
		if next == nil {
			break
		}
		off := int64(binary.LittleEndian.Uint32(next))*t.block + int64(binary.LittleEndian.Uint32(next[8:]))
		if use, err = w.read(off, int(min(binary.LittleEndian.Uint32(next[16:]), isoSector))); err != nil {
			return r, err
		}
	}
	r.names, r.link = tell.Names(name), link.String()
	return r, nil
}

// components appends the parts of the target of a link (RRIP 4.1.3.1).
func components(link *strings.Builder, b []byte) {
	for len(b) >= 2 {
		n := int(b[1])
		if n > len(b)-2 {
			return
		}
		if s := link.String(); s != "" && !strings.HasSuffix(s, "/") {
			link.WriteByte('/')
		}
		switch {
		case b[0]&2 != 0:
			link.WriteString(".")
		case b[0]&4 != 0:
			link.WriteString("..")
		case b[0]&8 != 0:
			link.WriteString("/")
		default:
			link.Write(b[2 : 2+n])
		}
		b = b[2+n:]
	}
}
