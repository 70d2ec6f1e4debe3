package sevenzip

import "errors"

// digest is a CRC-32, where there is one.
type digest struct {
	crc   uint32
	known bool
}

func (r *fields) digests(n int) []digest {
	known := r.optionalBits(n)
	v := make([]digest, n)
	for i := range v {
		if known[i] {
			v[i] = digest{r.uint32(), true}
		}
	}
	return v
}

// coder is one step of unpacking.
type coder struct {
	id      []byte
	in, out int
	props   []byte
	size    uint64 // of its output
}

// bind feeds output out of a folder to its input in.
type bind struct{ in, out int }

// folder is a stream that is unpacked as a whole, and cut into files.
type folder struct {
	coders []coder
	binds  []bind
	packed []int // its inputs that are read from the file
	first  int   // the first of its packed streams
	crc    digest
	parts  []part
}

// part is the content of one file.
type part struct {
	size uint64
	crc  digest
}

// streams is what a StreamsInfo says.
type streams struct {
	pos     uint64
	sizes   []uint64 // of the packed streams
	folders []folder
}

func (r *fields) streams() *streams {
	s := &streams{}
	id := r.byte()
	if id == idPackInfo {
		r.packInfo(s)
		id = r.byte()
	}
	if id == idUnpackInfo {
		r.unpackInfo(s)
		id = r.byte()
	}
	for i := range s.folders {
		f := &s.folders[i]
		f.parts = []part{{f.size(), f.crc}}
	}
	if id == idSubStreams {
		r.subStreams(s)
		id = r.byte()
	}
	if id != idEnd {
		r.fail(errForm)
	}
	return s
}

func (r *fields) packInfo(s *streams) {
	s.pos = r.number()
	n := r.count()
	for r.err == nil {
		switch id := r.byte(); id {
		case idEnd:
			if len(s.sizes) != n {
				r.fail(errForm)
			}
			return
		case idSize:
			if len(s.sizes) > 0 {
				r.fail(errForm)
			}
			for range n {
				s.sizes = append(s.sizes, r.number())
				if r.err != nil {
					return
				}
			}
		case idCRC:
			r.digests(n)
		default:
			r.skip()
		}
	}
}

func (r *fields) unpackInfo(s *streams) {
	r.expect(idFolder)
	n := r.count()
	if r.byte() != 0 {
		r.fail(errForm) // "external": the folders are in another stream, which no program writes
	}
	first := 0
	for range n {
		f := r.folder()
		f.first = first
		first += len(f.packed)
		if r.err != nil {
			return
		}
		s.folders = append(s.folders, f)
	}
	if first > len(s.sizes) {
		r.fail(errForm)
		return
	}
	r.expect(idUnpackSize)
	for i := range s.folders {
		for j := range s.folders[i].coders {
			s.folders[i].coders[j].size = r.number()
		}
	}
	for r.err == nil {
		switch id := r.byte(); id {
		case idEnd:
			return
		case idCRC:
			for i, d := range r.digests(n) {
				s.folders[i].crc = d
			}
		default:
			r.skip()
		}
	}
}

func (r *fields) folder() folder {
	var f folder
	n := r.number()
	if n == 0 || n > maxCoders {
		r.fail(errForm)
		return f
	}
	in := 0
	for range n {
		c := r.coder()
		in += c.in
		f.coders = append(f.coders, c)
	}
	if in > maxStreams || in < len(f.coders) {
		r.fail(errForm)
		return f
	}
	for range len(f.coders) - 1 {
		b := bind{int(min(r.number(), maxStreams)), int(min(r.number(), maxStreams))}
		if b.in >= in || b.out >= len(f.coders) {
			r.fail(errForm)
		}
		f.binds = append(f.binds, b)
	}
	packed := in - len(f.binds)
	for i := range packed {
		if packed > 1 {
			i = int(min(r.number(), maxStreams))
		} else {
			for i < in && f.boundTo(i) >= 0 {
				i++
			}
		}
		if i >= in {
			r.fail(errForm)
		}
		f.packed = append(f.packed, i)
	}
	return f
}

func (r *fields) coder() coder {
	flags := r.byte()
	c := coder{id: r.bytes(uint64(flags & 0x0f)), in: 1, out: 1}
	if flags&0xc0 != 0 {
		r.fail(errForm)
	}
	if flags&0x10 != 0 {
		c.in, c.out = int(min(r.number(), maxStreams+1)), int(min(r.number(), maxStreams+1))
	}
	if c.in == 0 || c.in > maxStreams || c.out != 1 {
		r.fail(errForm)
	}
	if flags&0x20 != 0 {
		n := r.number()
		if n > maxPropertyLen {
			r.fail(errForm)
		}
		c.props = r.bytes(n)
	}
	return c
}

// boundTo gives the output that feeds input in, -1 for an input that is read from the file.
func (f *folder) boundTo(in int) int {
	for _, b := range f.binds {
		if b.in == in {
			return b.out
		}
	}
	return -1
}

// main gives the coder whose output is that of the folder, -1 when there is none.
func (f *folder) main() int {
	for i := range f.coders {
		bound := false
		for _, b := range f.binds {
			bound = bound || b.out == i
		}
		if !bound {
			return i
		}
	}
	return -1
}

// size gives how many octets the folder unpacks to.
func (f *folder) size() uint64 {
	if i := f.main(); i >= 0 {
		return f.coders[i].size
	}
	return 0
}

func (r *fields) subStreams(s *streams) {
	id := r.byte()
	for r.err == nil && id != idEnd && id != idSize && id != idCRC {
		if id == idNumUnpack {
			r.numUnpack(s)
		} else {
			r.skip()
		}
		id = r.byte()
	}
	if id == idSize {
		for i := range s.folders {
			r.partSizes(&s.folders[i])
		}
		id = r.byte()
	} else {
		for i := range s.folders {
			if len(s.folders[i].parts) > 1 {
				r.fail(errForm)
			}
		}
	}
	for r.err == nil && id != idEnd {
		if id == idCRC {
			r.partDigests(s)
		} else {
			r.skip()
		}
		id = r.byte()
	}
}

func (r *fields) numUnpack(s *streams) {
	total := 0
	for i := range s.folders {
		f := &s.folders[i]
		n := r.count()
		if total += n; total > maxItems {
			r.fail(errTooMany)
			return
		}
		if n != 1 {
			f.parts = make([]part, n)
		}
	}
}

// partSizes reads the sizes of all parts but the last, which has what is left.
func (r *fields) partSizes(f *folder) {
	left := f.size()
	for i := range f.parts {
		p := &f.parts[i]
		p.size = left
		if i < len(f.parts)-1 {
			p.size = r.number()
		}
		if r.err != nil {
			return
		}
		if p.size > left {
			r.fail(errors.New("the files are larger than what holds them"))
			return
		}
		left -= p.size
	}
}

func (r *fields) partDigests(s *streams) {
	var missing []*part
	for i := range s.folders {
		f := &s.folders[i]
		if len(f.parts) == 1 && f.crc.known {
			continue
		}
		for j := range f.parts {
			missing = append(missing, &f.parts[j])
		}
	}
	for i, d := range r.digests(len(missing)) {
		missing[i].crc = d
	}
}
