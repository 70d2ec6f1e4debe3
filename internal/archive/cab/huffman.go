package cab

// quick is how many bits are looked up at once.
const quick = 9

// maxLength is the longest code of LZX.
const maxLength = 16

// code is a canonical prefix code, shorter codes and lower symbols first.
type code struct {
	short  [1 << quick]uint16 // by the next bits: symbol<<4 | length, 0 where it is longer
	counts [maxLength + 1]int
	sorted []uint16 // symbols in the order of their codes
}

// build makes the code of the lengths; ok is false when there are more codes than bits allow. A code that leaves bits
// unused is taken; decoding them fails.
func (c *code) build(lengths []byte) (ok bool) {
	c.counts = [maxLength + 1]int{}
	for _, n := range lengths {
		c.counts[n]++
	}
	c.counts[0] = 0
	var next [maxLength + 2]int // place of the first symbol of each length
	left := 1
	for n := 1; n <= maxLength; n++ {
		left = left<<1 - c.counts[n]
		if left < 0 {
			return false
		}
		next[n+1] = next[n] + c.counts[n]
	}
	total := next[maxLength+1]
	if cap(c.sorted) < len(lengths) {
		c.sorted = make([]uint16, len(lengths))
	}
	c.sorted = c.sorted[:total]
	for s, n := range lengths {
		if n > 0 {
			c.sorted[next[n]] = uint16(s)
			next[n]++
		}
	}
	clear(c.short[:])
	at, value := 0, 0
	for n := 1; n <= quick; n++ {
		for range c.counts[n] {
			entry := c.sorted[at]<<4 | uint16(n)
			first := value << (quick - n)
			for i := range 1 << (quick - n) {
				c.short[first+i] = entry
			}
			at++
			value++
		}
		value <<= 1
	}
	return true
}

// symbol decodes one symbol from the next 16 bits, and gives its length; 0 is for bits that no symbol has.
func (c *code) symbol(bits uint32) (symbol int, length int) {
	if e := c.short[bits>>(maxLength-quick)&(1<<quick-1)]; e != 0 {
		return int(e >> 4), int(e & 0x0f)
	}
	value, first, at := 0, 0, 0
	for n := 1; n <= maxLength; n++ {
		value |= int(bits>>(maxLength-n)) & 1
		if i := value - first; i < c.counts[n] {
			return int(c.sorted[at+i]), n
		}
		at += c.counts[n]
		first = (first + c.counts[n]) << 1
		value <<= 1
	}
	return 0, 0
}
