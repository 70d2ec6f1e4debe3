package external

import "github.com/postern-mail/postern/mail"

// forPrograms says why a message as a whole is left alone: programs read it, or look for it again by its subject.
func forPrograms(root *mail.Part) (why string) {
	if root.Type == "multipart/report" {
		return "it is a report"
	}
	root.Walk(func(p *mail.Part) bool {
		if p.Type == "text/calendar" {
			why = "it holds an invitation"
		}
		return why == "" && p.Type != "message/rfc822" && p.Type != "message/global"
	})
	return why
}

// shown gives the parts that readers show as the text of a message: one, or the alternatives of it (RFC 2046 5.1.4).
func shown(p *mail.Part) []*mail.Part {
	switch {
	case p.Disposition == "attachment" || len(p.Names) > 0 && !p.IsMultipart():
		return nil
	case !p.IsMultipart():
		if p.IsLeaf() && (p.Type == "text/plain" || p.Type == "text/html") {
			return []*mail.Part{p}
		}
		return nil
	}
	var all []*mail.Part
	for _, c := range p.Children {
		all = append(all, shown(c)...)
		if p.Type != "multipart/alternative" && len(all) > 0 {
			break // RFC 2046 5.1.3, RFC 2387: the first is the text; others are files beside it
		}
	}
	return all
}
