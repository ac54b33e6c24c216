"""The known bugs for people: what each witness showed and when, pages about their causes, a text for the upstream tracker."""
