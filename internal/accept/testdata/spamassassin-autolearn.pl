# Says what Mail::SpamAssassin would learn a message as by itself, were its learner silent: its own plugin AutoLearnThreshold is
# asked, with its own thresholds.
#
#   perl spamassassin-autolearn.pl RULES SITE STATE
#
# Reads a file's path a line, and answers each with a line: spam, ham or none. STATE is a folder for its files.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($rules, $site, $state) = @ARGV;
{
	no warnings 'redefine';
	require Mail::SpamAssassin::Plugin::Bayes;
	*Mail::SpamAssassin::Plugin::Bayes::scan = sub { undef };
	*Mail::SpamAssassin::Plugin::Bayes::learner_is_scan_available = sub { 1 };
}

my $sa = Mail::SpamAssassin->new({
	rules_filename     => $rules,
	site_rules_filename => $site,
	userprefs_filename => "$state/user_prefs",
	userstate_dir      => $state,
	home_dir_for_helpers => $state,
	dont_copy_prefs    => 1,
	local_tests_only   => 1,
	post_config_text   => "use_bayes 1\nuse_bayes_rules 1\nbayes_auto_learn 0\nbayes_auto_expire 0\nbayes_path $state/bayes\n"
		. "bayes_store_module Mail::SpamAssassin::BayesStore::DBM\nuse_auto_welcomelist 0\n",
});
$sa->init(1);
my ($plugin) = grep { ref eq 'Mail::SpamAssassin::Plugin::AutoLearnThreshold' } @{ $sa->{plugins}->{plugins} };
die "the plugin AutoLearnThreshold is not loaded\n" if !$plugin;

$| = 1;
while (my $file = <STDIN>) {
	chomp $file;
	open my $in, '<:raw', $file or die "$file: $!";
	my $text = do { local $/; <$in> };
	my $mail = $sa->parse(\$text, 0);
	my $status = $sa->check($mail);
	my $as = $plugin->autolearn_discriminator({ permsgstatus => $status });
	print !$as ? 'none' : $as->[0] ? 'spam' : 'ham', "\n";
	$status->finish;
	$mail->finish;
}
