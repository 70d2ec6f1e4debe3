package offcrypto

import "math/bits"

// xorPad follows the password in the array of XOR obfuscation (MS-OFFCRYPTO 2.3.7.2: PadArray).
var xorPad = [15]byte{0xbb, 0xff, 0xff, 0xba, 0xff, 0xff, 0xb9, 0x80, 0x00, 0xbe, 0x0f, 0x00, 0xbf, 0x0f, 0x00}

// xorCipher opens XOR obfuscation, method 1 (MS-OFFCRYPTO 2.3.7.1 to 2.3.7.3), given the key and the verifier that a
// file holds.
func xorCipher(key, verifier uint16) (recordCipher, error) {
	for _, password := range passwords {
		if len(password) > len(xorPad) || xorKey(password) != key || xorVerifier(password) != verifier {
			continue
		}
		array := xorArray(password, key)
		return func(p []byte, pos int64, size int) {
			for i, c := range p {
				p[i] = bits.RotateLeft8(c^array[(pos+int64(i)+int64(size))&15], 3)
			}
		}, nil
	}
	return nil, errPassword
}

// xorArray is what the octets are combined with.
func xorArray(password string, key uint16) (a [16]byte) {
	n := copy(a[:], password)
	copy(a[n:], xorPad[:])
	for i := range a {
		a[i] = bits.RotateLeft8(a[i]^byte(key>>(8*(i&1))), -1)
	}
	return a
}

// xorKey makes the 16-bit key of a password. The tables of MS-OFFCRYPTO 2.3.7.2 (InitialCode, XorMatrix) are the
// states of a shift register with the polynomial of CRC-CCITT, and are computed here.
func xorKey(password string) uint16 {
	shift := func(v uint16) uint16 {
		if v = bits.RotateLeft16(v, 1); v&1 != 0 {
			v ^= 0x1020
		}
		return v
	}
	key, base, end := uint16(0), uint16(0x8000), uint16(0xffff)
	for i := len(password) - 1; i >= 0; i-- {
		for c, bit := password[i]&0x7f, 0; bit < 8; c, bit = c>>1, bit+1 {
			if base = shift(base); c&1 != 0 {
				key ^= base
			}
			end = shift(end)
		}
	}
	return key ^ end
}

// xorVerifier makes the 16-bit verifier of a password (MS-OFFCRYPTO 2.3.7.1).
func xorVerifier(password string) uint16 {
	hash := uint16(0)
	for i := len(password) - 1; i >= 0; i-- {
		hash = (hash>>14&1 | hash<<1&0x7fff) ^ uint16(password[i])
	}
	hash = (hash>>14&1 | hash<<1&0x7fff) ^ uint16(len(password))
	return hash ^ 0xce4b
}
