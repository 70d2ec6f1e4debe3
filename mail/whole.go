package mail

// Whole gives the outermost part around p, or p itself, of which nothing may be changed but all of it: what is
// signed (RFC 1847 2.1) or encrypted, reports that programs read (RFC 6522), and journals, whose value is that
// nobody has touched them. It is nil where there is none. The message that a report returns is not what programs
// read of it.
func (p *Part) Whole() *Part {
	var found *Part
	in := false // in an embedded message of the part looked at
	for ; p != nil; p = p.Parent {
		switch p.Type {
		case "multipart/signed", "multipart/encrypted":
			if p.IsMultipart() {
				found = p
			}
		case "multipart/report":
			if p.IsMultipart() && !in {
				found = p
			}
		}
		in = in && !p.IsMultipart() || p.Type == "message/rfc822" || p.Type == "message/global"
		if p.Header.Count("X-MS-Journal-Report") > 0 && p.IsMultipart() {
			found = p
		}
	}
	return found
}
