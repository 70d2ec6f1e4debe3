package eval

// netFunctions are those that ask somebody: DNS lists, shared databases of digests, and the classifier that learns. Rules that
// call them are known, and none of them hits by way of these: package rules asks the DNS itself, where it may, and for the
// others there are filters.
var netFunctions = []Function{
	silent("check_rbl"), silent("check_rbl_txt"), silent("check_rbl_sub"), silent("check_rbl_from_host"), silent("check_rbl_from_domain"),
	silent("check_rbl_envfrom"), silent("check_rbl_headers"), silent("check_rbl_rcvd"), silent("check_rbl_ns_from"), silent("check_dns_sender"),
	silent("check_uridnsbl"),
	silent("check_hashbl_emails"), silent("check_hashbl_uris"), silent("check_hashbl_bodyre"), silent("check_hashbl_tag"),
	silent("check_hashbl_attachments"),
	silent("check_pyzor"), silent("check_razor2"), silent("check_razor2_range"), silent("check_dcc"), silent("check_dcc_reputation_range"),
	silent("check_bayes"),
}

// silent makes a function that never says yes, whatever its arguments.
func silent(name string) Function {
	return Function{name, func(*Settings, []string) (Check, error) {
		return func(*Mail) (int, string) { return 0, "" }, nil
	}}
}
