# Tells what SpamAssassin's header selectors give, without judging anything: a JSON object for each question on a line.
#
#   perl headdump.pl ROOT STATE [LINE ...]    ROOT: where the packages are unpacked; STATE: an empty folder; LINES of configuration
#
#   {"selectors": true}                       -> {"selectors": [SELECTOR ...]}: those of the rules that are loaded
#   {"path": FILE, "get": [SELECTOR ...]}     -> {"get": {SELECTOR: BASE64 or null}, "relays": {LIST: [{...} ...]}, "unparseable": N}
use strict;
use warnings;
use JSON::PP;
use MIME::Base64 qw(encode_base64);
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($root, $state, @lines) = @ARGV;
$ENV{TZ} = 'UTC';
binmode STDIN;
binmode STDOUT;
$| = 1;
my $json = JSON::PP->new->canonical->ascii;
my $sa = Mail::SpamAssassin->new({
    rules_filename       => "$root/usr/share/spamassassin",
    site_rules_filename  => "$root/etc/spamassassin",
    userprefs_filename   => '/dev/null',
    userstate_dir        => $state,
    home_dir_for_helpers => $state,
    LOCAL_STATE_DIR      => $state,
    local_tests_only     => 1,
    dont_copy_prefs      => 1,
    require_rules        => 1,
    post_config_text     => join("\n", "use_bayes 0", "time_limit 0", @lines) . "\n",
});
$sa->init(1);

while (my $line = <STDIN>) {
    my $ask = $json->decode($line);
    print $json->encode($ask->{selectors} ? selectors() : about($ask)), "\n";
}

sub selectors {
    my %seen = map { $_ => 1 } values %{ $sa->{conf}->{test_opt_header} };
    return { selectors => [ sort keys %seen ] };
}

sub about {
    my ($ask) = @_;
    open my $in, '<:raw', $ask->{path} or die "$ask->{path}: $!\n";
    my $text = do { local $/; <$in> };
    close $in;
    my $mail = $sa->parse(\$text, 1);
    $mail->delete_header('X-Spam-.*'); # as the check does, before anything is read
    my $status = Mail::SpamAssassin::PerMsgStatus->new($sa, $mail);
    $mail->{metadata}->{html} = {}; # the body is not rendered: it is not asked for
    $status->extract_message_metadata();
    my %get;
    for my $s (@{ $ask->{get} }) {
        my @all = $status->get($s);
        $get{$s} = @all ? octets(join($all[0] =~ /\n\z/ ? '' : "\n", @all)) : undef;
    }
    my %answer = (get => \%get, unparseable => $status->{num_relays_unparseable});
    for my $list (qw(trusted untrusted internal external)) {
        $answer{relays}->{$list} = [ map { relay($_) } @{ $status->{"relays_$list"} } ];
    }
    $status->finish();
    $mail->finish();
    return \%answer;
}

sub relay {
    my ($r) = @_;
    return { map { $_ => octets($r->{$_} // '') } qw(ip rdns helo by ident envfrom id auth msa internal ip_private no_reverse_dns) };
}

sub octets {
    my ($s) = @_;
    utf8::encode($s) if utf8::is_utf8($s);
    return encode_base64($s, '');
}
