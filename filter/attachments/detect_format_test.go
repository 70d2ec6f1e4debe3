package attachments

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// placed makes zeros with octets at some places, and some more zeros behind them.
func placed(parts ...any) string {
	b := make([]byte, 0x9800)
	for i := 0; i < len(parts); i += 2 {
		copy(b[parts[i].(int):], parts[i+1].(string))
	}
	return string(b)
}

// oldTar makes the header of an archive from before ustar.
func oldTar() string {
	b := []byte(placed(0, "file.txt", 100, "0000644\x00", 124, "00000000005\x00", 148, "        "))[:1024]
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	digits := []byte("000000\x00 ")
	for i := 5; i >= 0; i-- {
		digits[i] = byte('0' + sum&7)
		sum >>= 3
	}
	copy(b[148:], digits)
	return string(b)
}

// TestDetectFormats: what announces itself has its media type, and its class where it has one. In a text body it
// has the type all the same.
func TestDetectFormats(t *testing.T) {
	tests := []struct {
		name, head, mediaType string
		class                 class
	}{
		{"ISO 9660", placed(0x8001, "CD001\x01"), "application/x-iso9660-image", diskImage},
		{"ISO 9660, later sector", placed(0x9001, "CD001\x01"), "application/x-iso9660-image", diskImage},
		{"ISO 9660 behind a picture", placed(0, "GIF89a", 0x8001, "CD001\x01"), "application/x-iso9660-image", diskImage},
		{"ISO 9660 behind an archive", placed(0, "PK\x03\x04", 0x8001, "CD001\x01"), "application/x-iso9660-image", diskImage},
		{"High Sierra", placed(0x8009, "CDROM"), "application/x-iso9660-image", diskImage},
		{"UDF", placed(0x8001, "BEA01", 0x8801, "NSR03"), "application/x-iso9660-image", diskImage},
		{"whole sectors", "\x00" + strings.Repeat("\xff", 10) + "\x00\x00\x02\x00\x01", "application/x-cd-image", diskImage},
		{"MDS", "MEDIA DESCRIPTOR\x01\x03", "application/x-mds", diskImage},
		{"VHD", "conectix\x00\x00\x00\x02", "application/x-vhd", diskImage},
		{"VHDX", "vhdxfile" + "M\x00i\x00", "application/x-vhdx", diskImage},
		{"VMDK", "KDMV\x01\x00\x00\x00", "application/x-vmdk", diskImage},
		{"VMDK, text", "# Disk DescriptorFile\nversion=1\n", "application/x-vmdk", diskImage},
		{"QCOW", "QFI\xfb\x00\x00\x00\x03", "application/x-qemu-disk", diskImage},
		{"VDI", placed(0, "<<< a virtual disk >>>\n", 0x40, "\x7f\x10\xda\xbe"), "application/x-virtualbox-vdi", diskImage},
		{"WIM", "MSWIM\x00\x00\x00\xd0\x00\x00\x00", "application/x-ms-wim", diskImage},
		{"squashfs", placed(0, "hsqs\x05\x00\x00\x00", 28, "\x04\x00"), "application/x-squashfs", diskImage},
		{"hsqs in a text", "hsqs is the magic of a file system, I think\n", "", ""},
		{"NTFS", placed(0, "\xeb\x52\x90NTFS    "), "application/x-raw-disk-image", diskImage},
		{"FAT", placed(0, "\xeb\x3c\x90mkfs.fat", 54, "FAT16   ", 510, "\x55\xaa"), "application/x-raw-disk-image", diskImage},
		{"GPT", placed(510, "\x55\xaa", 512, "EFI PART"), "application/x-raw-disk-image", diskImage},
		{"partitions", placed(446, "\x80\x01\x01\x00\x07\xfe\xff\xff\x00\x08\x00\x00\x00\x00\x10\x00", 510, "\x55\xaa"), "application/x-raw-disk-image", diskImage},
		{"sector without partitions", placed(510, "\x55\xaa"), "", ""},
		{"ext", placed(0x438, "\x53\xef"), "application/x-raw-disk-image", diskImage},
		{"HFS+", placed(0x400, "H+\x00\x04"), "application/x-apple-diskimage", diskImage},
		{"APFS", placed(32, "NXSB"), "application/x-apple-diskimage", diskImage},
		{"zeros", strings.Repeat("\x00", headSize), "", ""},

		{"old help", "?_\x03\x00\x10\x00\x00\x00", "application/winhlp", script},
		{"compiled help, version 2", "ITSF\x02\x00\x00\x00\x60", "application/vnd.ms-htmlhelp", script},
		{"ITSF in a text", "ITSFUN to write", "", ""},
		{"AppleScript", "FasdUAS 1.101.10\x0e\x00", "application/x-applescript", script},
		{"Python 3.8", "\x55\x0d\r\n\x00\x00\x00\x00abcd\x05\x00\x00\x00\xe3\x00\x00\x00\x00", "application/x-python-code", script},
		{"Python 2.7", "\x03\xf3\r\n\x12\x34\x56\x78c\x00\x00\x00\x00\x00\x00\x00\x00", "application/x-python-code", script},
		{"two letters and a line", "ab\r\ncdefghijklmnopqrst", "", ""},
		{"line ends that were mended twice", "x\r\r\nabcdefghijklmnopqrstc", "", ""},
		{"webloc, binary", "bplist00\xd1\x01\x02SURL_\x10\x14https://example.org/", "application/x-webloc", shortcut},
		{"property list, binary", "bplist00\xd2\x01\x02\x03\x04", "application/x-bplist", ""},
		{"Flash", "CWS\x09\x20\x03\x00\x00\x78\xda", "application/x-shockwave-flash", executable},
		{"FWS in a text", "FWS reports 2023\n", "", ""},
		{"browser extension", "Cr24\x03\x00\x00\x00\x10\x02", "application/x-chrome-extension", executable},
		{"Android 10", "dex\n039\x00", "application/x-dex", executable},

		{"RTF as Word takes it", "{\\rt0 x}", "application/rtf", ""},
		{"OneNote", "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3\x00", "application/onenote", ""},
		{"Access", "\x00\x01\x00\x00Standard ACE DB\x00", "application/x-msaccess", ""},
		{"CMS", "\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0", "application/pkcs7-mime", ""},
		{"CMS, of no length", "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0", "application/pkcs7-mime", ""},
		{"CMS, authenticated", "\x30\x80\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17\xa0", "application/pkcs7-mime", ""},
		{"PKCS #12", "\x30\x82\x01\x00\x02\x01\x03\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0", "application/x-pkcs12", ""},
		{"certificate", "\x30\x82\x01\x00\x30\x82\x00\xf0\xa0\x03\x02\x01\x02", "", ""},
		{"digit", "0", "", ""},
		{"OpenPGP", "\x85\x01\x0c\x03\x01\x02\x03\x04\x05\x06\x07\x08\x01\x08\x00\xff", "application/pgp-encrypted", ""},
		{"OpenPGP, new header", "\xc1\x5e\x03\x01\x02\x03\x04\x05\x06\x07\x08\x12\x02\x03\x04\xff", "application/pgp-encrypted", ""},
		{"OpenPGP, passphrase", "\x8c\x0d\x04\x09\x03\x02\x01\x02\x03\x04\x05\x06\x07\x08\xff\xd2", "application/pgp-encrypted", ""},
		{"ellipsis in Windows-1252", "\x85 and so on, and so on", "", ""},
		{"PDF", "%PDF-1.7\n", "application/pdf", ""},
		{"PDF behind blank lines", "\n\n%PDF-1.7\n1 0 obj\n<<>>\nendobj\n", "application/pdf", ""},
		{"PDF behind a kilobyte", strings.Repeat("x", 1024) + "%PDF-1.7\n1 0 obj\n", "application/pdf", ""},
		{"PDF behind more", strings.Repeat("x", 1025) + "%PDF-1.7\n1 0 obj\n", "", ""},
		{"PDF behind PostScript's words", "%!PS-Adobe-3.0 PDF-1.4\n", "application/pdf", ""},
		{"PostScript", "%!PS-Adobe-3.0\n", "application/postscript", ""},
		{"PDF of which only the head is seen", "x%PDF-1.7\n" + strings.Repeat("% padding\n", headSize/10), "application/pdf", ""},
		{"PDF in a picture", "GIF89a\x01\x00\x01\x00\x00\x00\x00!\xfe\x10%PDF-1.7\n1 0 obj\n", "application/pdf", ""},
		{"text about PDF", "A file begins with %PDF-1.7, and has objects.\n", "", ""},
		{"ZIP with PDF in it", "PK\x03\x04\x14\x00\x00\x00\x00\x00a.pdf%PDF-1.7\n1 0 obj\n", "application/zip", ""},

		{"ZIP, empty", "PK\x05\x06\x00\x00", "application/zip", ""},
		{"ZIP, of several volumes", "PK\x07\x08PK\x03\x04", "application/zip", ""},
		{"bzip2", "BZh91AY&SY\x00", "application/x-bzip2", ""},
		{"bzip2, empty", "BZh9\x17\x72\x45\x38\x50\x90\x00", "application/x-bzip2", ""},
		{"BZh in a text", "BZh9 is a mark", "", ""},
		{"xz", "\xfd7zXZ\x00\x00\x04", "application/x-xz", ""},
		{"zstd", "\x28\xb5\x2f\xfd\x04", "application/zstd", ""},
		{"zstd, skippable frame", "\x50\x2a\x4d\x18\x04\x00\x00\x00", "application/zstd", ""},
		{"LZ4", "\x04\x22\x4d\x18\x64", "application/x-lz4", ""},
		{"LZMA", "\x5d\x00\x00\x80\x00" + strings.Repeat("\xff", 8) + "\x00\x01", "application/x-lzma", ""},
		{"LZMA, other dictionary", "\x5d\x00\x00\x00\x03" + strings.Repeat("\x00", 8) + "\x00\x01", "application/x-lzma", ""},
		{"lzip", "LZIP\x01\x0c", "application/x-lzip", ""},
		{"compress", "\x1f\x9d\x90", "application/x-compress", ""},
		{"ARJ", "\x60\xea\x2c\x00\x22\x0b\x01\x02", "application/x-arj", ""},
		{"LHA", "\x21\x5a-lh5-\x00\x00", "application/x-lzh-compressed", ""},
		{"list", "1 -la-b- c\n", "", ""},
		{"ACE", "\x31\x31\x31\x00\x00\x00\x90**ACE**", "application/x-ace-compressed", ""},
		{"tar", placed(0, "a.txt", 257, "ustar\x0000"), "application/x-tar", ""},
		{"old tar", oldTar(), "application/x-tar", ""},
		{"cpio", "070701002A0CD1", "application/x-cpio", ""},
		{"cpio, binary", "\xc7\x71\x00\x00", "application/x-cpio", ""},
		{"xar", "xar!\x00\x1c\x00\x01", "application/x-xar", ""},
		{"old RAR", "RE~^\x0c\x00", "application/vnd.rar", ""},
		{"expand", "SZDD\x88\xf0\x27\x33A_", "application/x-ms-compress-szdd", ""},

		{"BMP", "BM\x36\x00\x00\x00\x00\x00\x00\x00\x36", "image/bmp", ""},
		{"BM in a text", "BMW and others\n", "", ""},
		{"WebP", "RIFF\x1a\x00\x00\x00WEBPVP8L", "image/webp", ""},
		{"AVIF", "\x00\x00\x00\x1cftypavif", "image/avif", ""},
		{"HEIC", "\x00\x00\x00\x18ftypheic", "image/heic", ""},
		{"MP4", "\x00\x00\x00\x18ftypisom", "video/mp4", ""},
		{"icon", "\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01", "image/vnd.microsoft.icon", ""},
		{"ID3", "ID3\x04\x00\x00\x00\x00\x01\x00", "audio/mpeg", ""},
		{"font", "wOF2\x00\x01", "font/woff2", ""},
		{"WebAssembly", "\x00asm\x01\x00\x00\x00", "application/wasm", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := detect([]byte(tt.head), false)
			if k.class != tt.class || k.mediaType != tt.mediaType || (k.class != "") != (k.what != "") {
				t.Errorf("%+v, want %q, %q", k, tt.mediaType, tt.class)
			}
			b := detect([]byte(tt.head), true)
			if b.class != "" && tt.class != executable {
				t.Errorf("as text body: %+v", b)
			}
		})
	}
}

func TestDetectLeadingJunk(t *testing.T) {
	for _, junk := range []string{"\r\n", "\n\n\n", " ", "\t", "\x00", "\x00\x00 \r\n"} {
		for _, program := range []string{"MZ harmless marker", windowsProgram(0x80)} {
			if k := detect([]byte(junk+program), false); k.class != executable {
				t.Errorf("%q: %+v", junk, k)
			}
		}
	}
	if k := detect([]byte("x MZ"), false); k.class != "" {
		t.Errorf("%+v", k)
	}
}

// wide gives a text in UTF-16 without a mark.
func wide(order binary.ByteOrder, s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], u)
	}
	return string(b)
}

// TestDetectEncodings: a text is the same whatever it is encoded in.
func TestDetectEncodings(t *testing.T) {
	const text = "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\a]\r\n"
	wider := "\xff\xfe\x00\x00"
	for _, r := range text {
		wider += string([]byte{byte(r), 0, 0, 0})
	}
	for name, head := range map[string]string{
		"octets": text, "UTF-8": "\xef\xbb\xbf" + text, "two marks": "\xef\xbb\xbf\xef\xbb\xbf" + text,
		"UTF-16": utf16LE(text), "UTF-16, big-endian": "\xfe\xff" + wide(binary.BigEndian, text),
		"UTF-16 without a mark": wide(binary.LittleEndian, text), "UTF-16 without a mark, big-endian": wide(binary.BigEndian, text),
		"UTF-32": wider, "a mark that lies": "\xff\xfe" + text, "blank lines": "\r\n \t\r\n" + text,
	} {
		if k := detect([]byte(head), false); k.class != script || k.mediaType != "text/x-ms-regedit" {
			t.Errorf("%s: %+v", name, k)
		}
	}
}
