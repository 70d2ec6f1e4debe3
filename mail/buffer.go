package mail

import "sync"

// blockSize is the size of the blocks in which content is written to and read from disk, in octets.
const blockSize = 64 << 10

// bufferSizes are the capacities of pooled buffers, ascending. Content in memory outgrows one for the
// next, so that a short message does not hold the memory of a long one.
var bufferSizes = [...]int{512, 4 << 10, 16 << 10, blockSize, 256 << 10}

// bufferPools hold buffers that nobody refers to any more, one pool for each size.
var bufferPools [len(bufferSizes)]sync.Pool

// getBuffer gives an empty buffer with room for at least n octets; beyond the greatest size just that.
func getBuffer(n int) []byte {
	for i, size := range bufferSizes {
		if n <= size {
			if b, ok := bufferPools[i].Get().(*[]byte); ok {
				return (*b)[:0]
			}
			return make([]byte, 0, size)
		}
	}
	return make([]byte, 0, n)
}

// bufferSize gives the capacity that getBuffer gives to a buffer for n octets.
func bufferSize(n int) int {
	for _, size := range bufferSizes {
		if n <= size {
			return size
		}
	}
	return n
}

// putBuffer takes a buffer of getBuffer back; nothing may refer to it any more.
func putBuffer(b []byte) {
	for i, size := range bufferSizes {
		if cap(b) == size {
			b = b[:0]
			bufferPools[i].Put(&b)
			return
		}
	}
}
