"""Evidence: what a journal or a drill's record proves, as one document, as JSON and as a page.

    RunState + events  ->  document (run)      ->  JSON
    a drill's record   ->  document (drill)    ->  HTML (page, templates/report/)

Documents are pure functions: no file, no clock, no connection. They say what is not known as
plainly as what is: a journal that is damaged, cut off or still being written gives a document too.
"""
