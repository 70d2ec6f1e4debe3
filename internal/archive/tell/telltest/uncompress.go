package telltest

import "testing"

// Uncompress unpacks what compress(1) has packed.
func Uncompress(t testing.TB, in []byte) []byte {
	t.Helper()
	if len(in) < 3 || in[0] != 0x1f || in[1] != 0x9d {
		t.Fatal("not packed by compress")
	}
	most, blocks := uint(in[2]&0x1f), in[2]&0x80 != 0
	prefix, suffix := make([]int, 1<<16), make([]byte, 1<<16)
	var out, stack []byte
	next, width, last, at, start := 257, uint(9), -1, uint(0), uint(0)
	in = in[3:]
	for {
		if at+width > uint(len(in))*8 {
			return out
		}
		code := 0
		for i := range width {
			code |= int(in[(at+i)/8]>>((at+i)%8)&1) << i
		}
		at += width
		if blocks && code == 256 {
			// Codes come in groups of eight; the rest of a group is passed over.
			at = start + (at-start+width*8-1)/(width*8)*(width*8)
			next, width, last, start = 257, 9, -1, at
			continue
		}
		stack = stack[:0]
		c := code
		if c >= next {
			if last < 0 {
				t.Fatal("damaged")
			}
			c = last
			stack = append(stack, 0)
		}
		for c > 256 {
			stack = append(stack, suffix[c])
			c = prefix[c]
		}
		stack = append(stack, byte(c))
		if code >= next {
			stack[0] = byte(c)
		}
		for i := len(stack) - 1; i >= 0; i-- {
			out = append(out, stack[i])
		}
		if last >= 0 && next < 1<<most {
			prefix[next], suffix[next] = last, byte(c)
			next++
			if next == 1<<width && width < most {
				at = start + (at-start+width*8-1)/(width*8)*(width*8)
				width++
				start = at
			}
		}
		last = code
	}
}
