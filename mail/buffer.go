package mail

import "sync"

// blockSize is the size of the blocks in which content is written to and read from disk, in octets.
const blockSize = 64 << 10

// bufferSizes are the capacities of pooled buffers, ascending. Content in memory outgrows one for the
// next, so that a short message does not hold the memory of a long one.
var bufferSizes = [...]int{512, 4 << 10, 16 << 10, blockSize, 256 << 10}

// bufferPools hold buffers that nobody refers to any more, one pool for each size: as pointers to arrays, which take no memory
// of their own.
var bufferPools [len(bufferSizes)]sync.Pool

// pooled gives the memory of a pooled buffer, nil where v is none.
func pooled(v any) []byte {
	switch v := v.(type) {
	case *[512]byte:
		return v[:0]
	case *[4 << 10]byte:
		return v[:0]
	case *[16 << 10]byte:
		return v[:0]
	case *[blockSize]byte:
		return v[:0]
	case *[256 << 10]byte:
		return v[:0]
	}
	return nil
}

// poolable is the reverse of pooled; nil where b has none of the sizes.
func poolable(b []byte) any {
	switch b = b[:cap(b)]; len(b) {
	case 512:
		return (*[512]byte)(b)
	case 4 << 10:
		return (*[4 << 10]byte)(b)
	case 16 << 10:
		return (*[16 << 10]byte)(b)
	case blockSize:
		return (*[blockSize]byte)(b)
	case 256 << 10:
		return (*[256 << 10]byte)(b)
	}
	return nil
}

// getBuffer gives an empty buffer with room for at least n octets; beyond the greatest size just that.
func getBuffer(n int) []byte {
	for i, size := range bufferSizes {
		if n <= size {
			if b := pooled(bufferPools[i].Get()); b != nil {
				return b
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
			bufferPools[i].Put(poolable(b))
			return
		}
	}
}
