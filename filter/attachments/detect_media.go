package attachments

import "bytes"

// media are pictures, sound, film and fonts, and a few other formats in which nothing is looked for.
var media = []magic{
	{0, "\x89PNG\r\n\x1a\n", nil, is("image/png")},
	{0, "\xff\xd8\xff", nil, is("image/jpeg")},
	{0, "GIF87a", nil, is("image/gif")},
	{0, "GIF89a", nil, is("image/gif")},
	{0, "II*\x00", nil, is("image/tiff")},
	{0, "MM\x00*", nil, is("image/tiff")},
	{0, "BM", zerosAt(6, 4), is("image/bmp")},
	{0, "RIFF", formAt(8, "WEBP"), is("image/webp")},
	{0, "\x00\x00\x01\x00", isIcon, is("image/vnd.microsoft.icon")},
	{0, "\x00\x00\x02\x00", isIcon, is("image/vnd.microsoft.icon")},
	{0, "8BPS\x00", nil, is("image/vnd.adobe.photoshop")},
	{0, "\x00\x00\x00\x0cjP  \r\n\x87\n", nil, is("image/jp2")},
	{0, "\xff\x4f\xff\x51", nil, is("image/jp2")},
	{0, "AT&TFORM", nil, is("image/vnd.djvu")},
	{0, "\x01\x00\x00\x00", formAt(40, " EMF"), is("image/emf")},
	{0, "\xd7\xcd\xc6\x9a", nil, is("image/wmf")},
	{4, "ftypavif", nil, is("image/avif")},
	{4, "ftypavis", nil, is("image/avif")},
	{4, "ftyphei", nil, is("image/heic")},
	{4, "ftyphev", nil, is("image/heic")},
	{4, "ftypmif1", nil, is("image/heif")},
	{4, "ftypmsf1", nil, is("image/heif")},
	{4, "ftypM4A", nil, is("audio/mp4")},
	{4, "ftypqt  ", nil, is("video/quicktime")},
	{4, "ftyp3g", nil, is("video/3gpp")},
	{4, "ftyp", nil, is("video/mp4")},
	{4, "moov", zerosAt(0, 1), is("video/quicktime")},
	{0, "ID3", isID3, is("audio/mpeg")},
	{0, "\xff\xfb", nil, is("audio/mpeg")},
	{0, "\xff\xf3", nil, is("audio/mpeg")},
	{0, "\xff\xfa", nil, is("audio/mpeg")},
	{0, "\xff\xf1", nil, is("audio/aac")},
	{0, "\xff\xf9", nil, is("audio/aac")},
	{0, "RIFF", formAt(8, "WAVE"), is("audio/vnd.wave")},
	{0, "RIFX", formAt(8, "WAVE"), is("audio/vnd.wave")},
	{0, "RIFF", formAt(8, "AVI "), is("video/vnd.avi")},
	{0, "OggS\x00", nil, is("application/ogg")},
	{0, "fLaC", nil, is("audio/flac")},
	{0, "MThd\x00\x00\x00\x06", nil, is("audio/midi")},
	{0, "#!AMR", nil, is("audio/amr")},
	{0, "FORM", formAt(8, "AIFF"), is("audio/aiff")},
	{0, "\x1a\x45\xdf\xa3", isWebM, is("video/webm")},
	{0, "\x1a\x45\xdf\xa3", nil, is("video/matroska")},
	{0, "FLV\x01", nil, is("video/x-flv")},
	{0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", nil, is("video/x-ms-asf")},
	{0, "\x00\x00\x01\xba", nil, is("video/mpeg")},
	{0, "\x00\x00\x01\xb3", nil, is("video/mpeg")},
	{0, "wOFF", nil, is("font/woff")},
	{0, "wOF2", nil, is("font/woff2")},
	{0, "OTTO\x00", nil, is("font/otf")},
	{0, "\x00\x01\x00\x00\x00", nil, is("font/ttf")},
	{0, "true\x00", nil, is("font/ttf")},
	{0, "ttcf\x00", nil, is("font/collection")},
	{0, "SQLite format 3\x00", nil, is("application/vnd.sqlite3")},
	{0, "bplist", nil, is("application/x-bplist")},
	{0, "\x00asm\x01\x00\x00\x00", nil, is("application/wasm")},
	{128, "DICM", nil, is("application/dicom")},
}

// formAt asks for the name of a form at a place.
func formAt(place int, form string) func([]byte) bool {
	return func(head []byte) bool { return at(head, place, form) }
}

// isIcon asks for at least one picture, and for the zero in the entry of the first.
func isIcon(head []byte) bool { return len(head) > 9 && head[4] > 0 && head[5] == 0 && head[9] == 0 }

// isID3 asks for a version and a size (ID3v2 3.1).
func isID3(head []byte) bool {
	return len(head) >= 10 && head[3] < 0x10 && head[6]|head[7]|head[8]|head[9] < 0x80
}

func isWebM(head []byte) bool { return bytes.Contains(head[:min(len(head), 64)], []byte("webm")) }
