package mail

import "bytes"

// steadyLines is how many lines of one length in a row make it likely that the next one has it, too.
const steadyLines = 3

// plainLines looks at content as it came, not empty, behind a CR where cr is set. It gives the offset of the first dot that
// begins a line behind a line end in b (RFC 5321 4.5.2), or len(b) where there is none, and whether the octets before that
// hold no line end but CRLF. A CR at the end of b is left to what follows.
//
// A call for each line costs more than looking at its octets, and most content of some size is encoded, in lines of one
// length. So behind some such lines the next end is looked for where it would be. That none was passed over is found by
// counting them all, at the speed of memory.
func plainLines(b []byte, cr bool) (n int, ok bool) {
	n, lfs, guessed, ok := walkLines(b, cr, steadyLines)
	if guessed && bytes.Count(b[:n], onlyLF) != lfs {
		n, lfs, _, ok = walkLines(b, cr, len(b))
	}
	if !ok {
		return n, false
	}
	// Each LF has a CR of its own. If there are no more CRs than LFs, each CR has its LF, too.
	crs := bytes.Count(b[:n], onlyCR)
	if cr {
		crs++
	}
	if b[n-1] == '\r' {
		crs-- // what follows tells
	}
	return n, crs == lfs
}

// walkLines goes from LF to LF, up to a line that begins with a dot or to an LF without a CR, which is not ok. It may
// pass over LFs where it has guessed.
func walkLines(b []byte, cr bool, steadyLines int) (n, lfs int, guessed, ok bool) {
	width, steady := 0, 0
	for i := 0; i < len(b); {
		if steady >= steadyLines {
			first := i
			for end := i + width; end < len(b)-1 && b[end] == '\n' && b[end-1] == '\r' && b[end+1] != '.'; end += width + 1 {
				i = end + 1
			}
			lfs += (i - first) / (width + 1)
			guessed = true
		}
		k := bytes.IndexByte(b[i:], '\n')
		if k < 0 {
			break
		}
		if steady++; k != width {
			width, steady = k, 0
		}
		if i += k; i == 0 && !cr || i > 0 && b[i-1] != '\r' {
			return i + 1, lfs, guessed, false
		}
		lfs++
		if i++; i < len(b) && b[i] == '.' {
			return i, lfs, guessed, true
		}
	}
	return len(b), lfs, guessed, true
}
