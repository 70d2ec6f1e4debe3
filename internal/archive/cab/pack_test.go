package cab

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// packer writes LZX in blocks of all kinds, with codes that are drawn by lot.
type packer struct {
	rand     *rand.Rand
	out      []byte
	word     uint32
	nbits    int
	data     []byte
	at       int
	repeated [3]int
	slots    int
	lengths  []byte // of the main code, as they are known to the reader
	short    [lengthSymbols]byte
	frames   []int // where each frame ends in out
	last     map[uint32]int
}

func (p *packer) bits(v, n int) {
	for n > 0 {
		n--
		p.word = p.word<<1 | uint32(v>>n)&1
		if p.nbits++; p.nbits == 16 {
			p.out = append(p.out, byte(p.word), byte(p.word>>8))
			p.word, p.nbits = 0, 0
		}
	}
}

func (p *packer) align() {
	for p.nbits > 0 {
		p.bits(0, 1)
	}
}

// lot draws the lengths of a complete code of n symbols.
func (p *packer) lot(n, limit int) []byte {
	lengths := []byte{0}
	for len(lengths) < n {
		i := p.rand.IntN(len(lengths))
		if int(lengths[i]) == limit {
			continue
		}
		lengths[i]++
		lengths = append(lengths, lengths[i])
	}
	p.rand.Shuffle(n, func(i, j int) { lengths[i], lengths[j] = lengths[j], lengths[i] })
	return lengths
}

// codes gives the codes of lengths, in the canonical order.
func codes(lengths []byte) []int {
	v := make([]int, len(lengths))
	next := 0
	for n := 1; n <= maxLength; n++ {
		for s, l := range lengths {
			if int(l) == n {
				v[s] = next
				next++
			}
		}
		next <<= 1
	}
	return v
}

// tree writes lengths by their differences from the old ones, which it changes.
func (p *packer) tree(old, lengths []byte) {
	pre := p.lot(20, 15)
	code := codes(pre)
	for _, n := range pre {
		p.bits(int(n), 4)
	}
	put := func(s int) { p.bits(code[s], int(pre[s])) }
	for i := 0; i < len(lengths); {
		run := 1
		for i+run < len(lengths) && lengths[i+run] == lengths[i] {
			run++
		}
		delta := (int(old[i]) - int(lengths[i]) + 17) % 17
		switch {
		case lengths[i] == 0 && run >= 20:
			run = min(run, 51)
			put(18)
			p.bits(run-20, 5)
		case lengths[i] == 0 && run >= 4:
			run = min(run, 19)
			put(17)
			p.bits(run-4, 4)
		case run >= 4:
			run = min(run, 5)
			put(19)
			p.bits(run-4, 1)
			put(delta)
		default:
			run = 1
			put(delta)
		}
		i += run
	}
	copy(old, lengths)
}

// block writes the next n octets of data as a block.
func (p *packer) block(kind, n int) {
	p.bits(kind, 3)
	p.bits(n, 24)
	var alignedLengths []byte
	if kind == aligned {
		alignedLengths = p.lot(8, 7)
		for _, l := range alignedLengths {
			p.bits(int(l), 3)
		}
	}
	if kind == plain {
		p.plain(n)
		return
	}
	main, length := p.lot(256+8*p.slots, maxLength), p.lot(lengthSymbols, maxLength)
	p.tree(p.lengths[:256], main[:256])
	p.tree(p.lengths[256:], main[256:])
	p.tree(p.short[:], length)
	mainCode, lengthCode, alignedCode := codes(main), codes(length), codes(alignedLengths)
	for end := p.at + n; p.at < end; {
		room := min(end-p.at, frameSize-p.at%frameSize)
		distance, size := p.find(room)
		if size < 2 {
			c := int(p.data[p.at])
			p.bits(mainCode[c], int(main[c]))
			p.step(1)
			continue
		}
		slot := p.slot(distance)
		s := 256 + slot<<3 + min(size-2, 7)
		p.bits(mainCode[s], int(main[s]))
		if size-2 >= 7 {
			p.bits(lengthCode[size-9], int(length[size-9]))
		}
		if footer := footers[slot]; slot > 2 {
			v := distance + 2 - bases[slot]
			if kind == aligned && footer >= 3 {
				p.bits(v>>3, footer-3)
				p.bits(alignedCode[v&7], int(alignedLengths[v&7]))
			} else {
				p.bits(v, footer)
			}
		}
		p.step(size)
	}
}

// slot gives the position slot of a distance, and remembers it.
func (p *packer) slot(distance int) int {
	for i, r := range p.repeated {
		if r == distance {
			p.repeated[0], p.repeated[i] = p.repeated[i], p.repeated[0]
			return i
		}
	}
	p.repeated = [3]int{distance, p.repeated[0], p.repeated[1]}
	for s := maxSlots - 1; ; s-- {
		if bases[s] <= distance+2 {
			return s
		}
	}
}

// find looks for the last place where the next octets were before.
func (p *packer) find(room int) (distance, size int) {
	if room < 3 || p.at+3 > len(p.data) {
		return 0, 0
	}
	at, ok := p.last[p.key(p.at)]
	if !ok || p.at-at > 1<<15-3 {
		return 0, 0
	}
	for size < min(room, 257) && p.data[at+size] == p.data[p.at+size] {
		size++
	}
	return p.at - at, size
}

func (p *packer) key(at int) uint32 {
	return uint32(p.data[at])<<16 | uint32(p.data[at+1])<<8 | uint32(p.data[at+2])
}

// step passes over n octets, and fills the words at the end of a frame.
func (p *packer) step(n int) {
	for range n {
		if p.at+3 <= len(p.data) {
			p.last[p.key(p.at)] = p.at
		}
		p.at++
		if p.at%frameSize == 0 || p.at == len(p.data) {
			p.align()
			p.frames = append(p.frames, len(p.out))
		}
	}
}

func (p *packer) plain(n int) {
	if p.nbits == 0 {
		p.bits(0, 16)
	}
	p.align()
	for _, r := range p.repeated {
		p.out = binary.LittleEndian.AppendUint32(p.out, uint32(r))
	}
	for range n {
		p.out = append(p.out, p.data[p.at])
		p.step(1)
	}
	if n&1 != 0 {
		p.out = append(p.out, 0)
	}
}

// packLZX packs data, whose calls must have been made absolute where size is not 0.
func packLZX(seed uint64, data []byte, window int, size uint32) (packed []byte, frames []int) {
	p := &packer{rand: rand.New(rand.NewPCG(seed, 1)), data: data, repeated: [3]int{1, 1, 1}, slots: slots[window-15], last: map[uint32]int{}}
	p.lengths = make([]byte, 256+8*p.slots)
	if size == 0 {
		p.bits(0, 1)
	} else {
		p.bits(1, 1)
		p.bits(int(size>>16), 16)
		p.bits(int(size&0xffff), 16)
	}
	for p.at < len(data) {
		p.block(1+p.rand.IntN(3), min(1+p.rand.IntN(50000), len(data)-p.at))
	}
	return p.out, p.frames
}

// absolute makes the targets of calls absolute, as an encoder does: the inverse of putRight.
func absolute(data []byte, size int32) {
	for from := 0; from < len(data); from += frameSize {
		frame := data[from:min(from+frameSize, len(data))]
		for i := 0; i < len(frame)-10; i++ {
			if frame[i] != 0xe8 {
				continue
			}
			at := int32(from + i)
			v := int32(binary.LittleEndian.Uint32(frame[i+1:]))
			if v >= -at && v < size-at {
				binary.LittleEndian.PutUint32(frame[i+1:], uint32(v+at))
			} else if v >= size-at && v < size {
				binary.LittleEndian.PutUint32(frame[i+1:], uint32(v-size))
			}
			i += 4
		}
	}
}

// sample makes octets that look like a program: with repeats, and calls.
func sample(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	var b []byte
	for len(b) < n {
		switch r.IntN(4) {
		case 0:
			for range r.IntN(40) {
				b = append(b, byte(r.IntN(256)))
			}
		case 1:
			b = append(b, 0xe8)
			b = binary.LittleEndian.AppendUint32(b, uint32(r.IntN(2*n)-n))
		default:
			if len(b) > 0 {
				at := r.IntN(len(b))
				b = append(b, b[at:min(at+r.IntN(300), len(b))]...)
			}
		}
	}
	return b[:n]
}

// packedBlock is the content of a CFDATA structure.
type packedBlock struct {
	data []byte
	size int
}

// testFile is a file of a cabinet that is built here.
type testFile struct {
	name   string
	at     int
	size   int
	folder uint16
	flags  uint16
}

// build makes a cabinet of one folder.
func build(method uint16, blocks []packedBlock, files ...testFile) []byte {
	var list []byte
	for _, f := range files {
		list = binary.LittleEndian.AppendUint32(list, uint32(f.size))
		list = binary.LittleEndian.AppendUint32(list, uint32(f.at))
		list = binary.LittleEndian.AppendUint16(list, f.folder)
		list = append(list, 0, 0, 0, 0)
		list = binary.LittleEndian.AppendUint16(list, f.flags)
		list = append(append(list, f.name...), 0)
	}
	var data []byte
	for _, b := range blocks {
		head := binary.LittleEndian.AppendUint16(nil, uint16(len(b.data)))
		head = binary.LittleEndian.AppendUint16(head, uint16(b.size))
		data = binary.LittleEndian.AppendUint32(data, checksum(head, checksum(b.data, 0)))
		data = append(append(data, head...), b.data...)
	}
	at := 36 + 8
	c := make([]byte, at)
	copy(c, signature)
	binary.LittleEndian.PutUint32(c[8:], uint32(at+len(list)+len(data)))
	binary.LittleEndian.PutUint32(c[16:], uint32(at))
	c[24], c[25] = 3, 1
	binary.LittleEndian.PutUint16(c[26:], 1)
	binary.LittleEndian.PutUint16(c[28:], uint16(len(files)))
	binary.LittleEndian.PutUint32(c[36:], uint32(at+len(list)))
	binary.LittleEndian.PutUint16(c[40:], uint16(len(blocks)))
	binary.LittleEndian.PutUint16(c[42:], method)
	return append(append(c, list...), data...)
}

// buildLZX makes a cabinet with data as one file.
func buildLZX(seed uint64, data []byte, window int, translate bool) []byte {
	size := uint32(0)
	packable := bytes.Clone(data)
	if translate {
		size = uint32(len(data))
		absolute(packable, int32(size))
	}
	packed, frames := packLZX(seed, packable, window, size)
	frames[len(frames)-1] = len(packed) // the octet that fills the last block up
	var blocks []packedBlock
	start := 0
	for i, end := range frames {
		blocks = append(blocks, packedBlock{packed[start:end], min(frameSize, len(data)-i*frameSize)})
		start = end
	}
	return build(methodLZX|uint16(window)<<8, blocks, testFile{name: "x.exe", size: len(data)})
}

// buildMSZIP makes a cabinet with data as one file.
func buildMSZIP(t testing.TB, data []byte) []byte {
	t.Helper()
	var blocks []packedBlock
	var past []byte
	for rest := data; len(rest) > 0; {
		part := rest[:min(frameSize, len(rest))]
		rest = rest[len(part):]
		var b bytes.Buffer
		b.WriteString("CK")
		z, err := flate.NewWriterDict(&b, 9, past)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, packedBlock{b.Bytes(), len(part)})
		past = part
	}
	return build(methodMSZIP, blocks, testFile{name: "x.exe", size: len(data)})
}
